#!/usr/bin/env python3
"""Makes the files of fixtures/dl0 anew: the smallest that ACADA's mock writes, and a plain FITS monitoring product.

usage: PYTHON make_fixtures.py [DIRECTORY]     with the Python of endpoints.json (ctao-acada-mock, astropy)

Identifiers, times and noise differ from run to run; names, structure and approximate sizes do not.
"""

import shutil
import sys
import tempfile
import uuid
from datetime import date, datetime, timezone
from pathlib import Path

import numpy as np
from acada import FIXTURES, TELESCOPES, mock_observation
from astropy.io import fits
from astropy.time import Time
from ctao_datamodel import instance_to_fits_header
from ctao_datamodel.models import dataproducts as dp

START = datetime(2026, 1, 1, 20, tzinfo=timezone.utc)
OBS_ID = 2_000_000_456


def monitoring_product():
    """Weather data as a plain table: the metadata in HDU 1 and no CHECKSUM anywhere."""
    product = dp.Product(
        description="DL0 Weather Monitoring",
        creation_time=Time("2026-01-02T06:00:00"),
        data=dp.ProductType(
            level=dp.DataLevel.DL0, division=dp.DataDivision.MONITORING, association=dp.DataAssociation.ARRAY,
            type=dp.DataType.WEATHER),
        instance=dp.InstanceIdentifier(id=uuid.uuid4(), obs_id=OBS_ID, observing_night=date(2026, 1, 1)),
        curation=dp.Curation(release="Dummy Test Data"),
        model=dp.DataModel(name="weather", version="1.0", url="https://www.ctao.org/"),
        contact=dp.Contact(name="CTAO DPPS", email="dpps@ctao.org", organization="CTAO"),
        activity=dp.Activity(
            name="weather-monitoring", id=uuid.uuid4(), start=Time("2026-01-01T20:00:00"),
            process=dp.ObservatoryProcess.ACQUISITION, configuration_id="fixture",
            software=dp.Software(name="make_fixtures.py", version="1", url="https://www.ctao.org/")),
    )
    minutes = np.arange(0, 600, 10)
    columns = [
        fits.Column("time", "D", unit="s", array=START.timestamp() + 60.0 * minutes),
        fits.Column("temperature", "E", unit="Celsius", array=8 - minutes / 120),
        fits.Column("wind_speed", "E", unit="m/s", array=4 + np.sin(minutes / 60)),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="WEATHER")
    table.header.update(instance_to_fits_header(product))
    return fits.HDUList([fits.PrimaryHDU(), table])


def main():
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        mock_observation(Path(scratch), START, OBS_ID, TELESCOPES[:1], events=16, pixels=64)
        for file in Path(scratch).rglob("*.fits.fz"):
            shutil.copy(file, target)
    monitoring_product().writeto(target / "WEATHER_20260101T200000.fits", overwrite=True)


if __name__ == "__main__":
    main()
