//! Where a telescope points: from altitude and azimuth to hour angle and declination, by spherical trigonometry with the
//! geodetic latitude of the place. Refraction and the motion of the pole are below what anybody checks here.

/// A direction in degrees: hour angle (−180 to 180) and declination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct HourAngle {
    pub(super) hour_angle: f64,
    pub(super) declination: f64,
}

/// The hour angle and declination of a direction given by zenith angle and azimuth (north over east), seen from a
/// latitude; all in degrees.
pub(super) fn hour_angle(zenith: f64, azimuth: f64, latitude: f64) -> HourAngle {
    let (sin_z, cos_z) = zenith.to_radians().sin_cos();
    let (sin_a, cos_a) = azimuth.to_radians().sin_cos();
    let (sin_l, cos_l) = latitude.to_radians().sin_cos();
    // the direction in axes towards the meridian's equator, east, and the pole
    let meridian = cos_z * cos_l - sin_z * cos_a * sin_l;
    let east = sin_z * sin_a;
    let pole = cos_z * sin_l + sin_z * cos_a * cos_l;
    HourAngle {
        hour_angle: (-east).atan2(meridian).to_degrees(),
        declination: pole.atan2(across(meridian, east)).to_degrees(),
    }
}

/// The length of two sides of a right angle, within a unit sphere. `f64::hypot` wants glibc 2.35 where the program runs, and
/// AlmaLinux 9 has 2.34.
fn across(x: f64, y: f64) -> f64 {
    (x * x + y * y).sqrt()
}

impl HourAngle {
    /// The angle between two directions, in degrees.
    pub(super) fn separation(self, other: Self) -> f64 {
        let (sin_1, cos_1) = self.declination.to_radians().sin_cos();
        let (sin_2, cos_2) = other.declination.to_radians().sin_cos();
        let (sin_h, cos_h) = (other.hour_angle - self.hour_angle).to_radians().sin_cos();
        // stable for small and for large angles
        let across = across(cos_2 * sin_h, cos_1 * sin_2 - sin_1 * cos_2 * cos_h);
        across.atan2(sin_1 * sin_2 + cos_1 * cos_2 * cos_h).to_degrees()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the reference implementation, which goes the long way by way of the celestial frame.
    const REFERENCE: &[([f64; 3], [f64; 2])] = &[
        ([20.0, 30.0, 28.76], [-14.091_219_800_173_92, 45.380_361_624_412_68]),
        ([20.0, 200.0, 28.76], [6.817_861_478_672_039, 9.809_786_825_197_882]),
        ([20.0, 30.0, -24.68], [-9.922_935_879_143_095, -7.078_376_702_155_824]),
        ([120.0, 30.0, 28.76], [-151.550_156_148_468_23, 24.639_732_006_889_115]),
        ([0.0, 30.0, 28.76], [0.0, 28.76]),
    ];

    #[test]
    fn agrees_with_the_reference() {
        for ([zenith, azimuth, latitude], [hour, declination]) in REFERENCE {
            let found = hour_angle(*zenith, *azimuth, *latitude);
            let expected = HourAngle { hour_angle: *hour, declination: *declination };
            assert!(found.separation(expected) < 1e-9, "{found:?} {expected:?}");
            assert!((found.hour_angle - hour).abs() < 1e-9 && (found.declination - declination).abs() < 1e-9);
        }
    }

    #[test]
    fn separations() {
        let at = |hour_angle, declination| HourAngle { hour_angle, declination };
        assert!((at(0.0, 90.0).separation(at(120.0, 0.0)) - 90.0).abs() < 1e-12);
        assert!((at(359.95, 0.0).separation(at(0.05, 0.0)) - 0.1).abs() < 1e-9);
        assert!((at(10.0, -90.0).separation(at(50.0, 90.0)) - 180.0).abs() < 1e-9);
    }
}
