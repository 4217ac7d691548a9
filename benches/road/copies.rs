//! How soon the second off-site copy follows the first while files keep arriving, and whether any rule gets STUCK.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::daemon::Daemon;
use crate::rucio::Rucio;
use crate::stack::{Night, Stack};
use crate::{Arguments, row, spread};

const BETWEEN_ARRIVALS: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// How long after the last arrival copies are waited for.
const PATIENCE: Duration = Duration::from_mins(3);

/// One file's moments.
struct Followed {
    arrived: Instant,
    first: Option<Instant>,
    second: Option<Instant>,
}

pub(crate) async fn measure(stack: &Stack, arguments: &Arguments) {
    let night = Night::new(stack);
    let lfns: Vec<String> = (0..arguments.arrivals).map(|number| night.lfn(0, number)).collect();
    let dataset = lfns[0].rsplit_once('/').unwrap().0.to_owned();
    let rucio = Rucio::login(stack).await;
    let mut daemon = Daemon::start(stack, &stack.onsite().1.directory, "");
    daemon.ready().await;
    let began = Instant::now();
    let end = began + BETWEEN_ARRIVALS * u32::try_from(lfns.len()).unwrap() + PATIENCE;
    let mut followed = BTreeMap::<&str, Followed>::new();
    let mut stuck = BTreeSet::new();
    let mut in_time = None;
    while Instant::now() < end && (followed.len() < lfns.len() || followed.values().any(|file| file.second.is_none())) {
        let look = Instant::now();
        let due = usize::try_from(began.elapsed().as_secs() / BETWEEN_ARRIVALS.as_secs()).unwrap() + 1;
        while followed.len() < due.min(lfns.len()) {
            let lfn = &lfns[followed.len()];
            night.write(lfn);
            night.trigger(lfn);
            followed.insert(lfn, Followed { arrived: Instant::now(), first: None, second: None });
            if followed.len() == lfns.len() {
                in_time = Some(followed.values().filter(|file| file.second.is_some()).count());
            }
        }
        notice(stack, &rucio, &mut followed).await;
        stuck.append(&mut rucio.stuck_rules(&dataset).await);
        sleep_until(look + BETWEEN_LOOKS).await;
    }
    daemon.stop();
    let files = lfns.len();
    let gap = |from: fn(&Followed) -> Option<Instant>, to: fn(&Followed) -> Option<Instant>| {
        spread(followed.values().filter_map(|file| Some(to(file)? - from(file)?)).collect())
    };
    row("copies", "files, one a second", files);
    row("", "from the trigger to the first off-site copy", gap(|file| Some(file.arrived), |file| file.first));
    row("", "from the first off-site copy to the second", gap(|file| file.first, |file| file.second));
    let with_two = followed.values().filter(|file| file.second.is_some()).count();
    row(
        "",
        "files with two off-site copies at the last arrival, at the end",
        format!("{}, {with_two}", in_time.unwrap_or(0)),
    );
    row("", "rules ever seen STUCK", stuck.len());
}

/// Looks where the files that have no two copies yet are.
async fn notice(stack: &Stack, rucio: &Rucio, followed: &mut BTreeMap<&str, Followed>) {
    let open: Vec<&str> = followed.iter().filter(|(_, file)| file.second.is_none()).map(|(lfn, _)| *lfn).collect();
    if open.is_empty() {
        return;
    }
    let available = rucio.available(&open).await;
    let now = Instant::now();
    for (lfn, file) in followed {
        let Some(rses) = available.get(*lfn) else { continue };
        let offsite = rses.iter().filter(|rse| !stack.rses[*rse].onsite).count();
        if offsite >= 1 {
            file.first.get_or_insert(now);
        }
        if offsite >= 2 {
            file.second.get_or_insert(now);
        }
    }
}
