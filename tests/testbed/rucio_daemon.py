"""Runs one of Rucio's daemons with waits shortened that are constants in its code.

usage: rucio_daemon.py NAME [OPTION...]

Production has minutes and hours for a transfer to be looked at again; a test has seconds:

* a looping conveyor daemon looks at one request once per 600 s (``processed_at_delay``): here 2 s;
* conveyor daemons wait 10 s at their start for others of their kind (``partition_wait_time``): here 0.2 s;
* judge-repairer takes up a STUCK rule when it has rested for 1800 s, in old versions whatever their configuration says:
  here what ``[repairer] updated_at_delta`` says;
* judge-repairer retries a lock whose transfer failed for good only after 2 h (then 4, 6, 8 h): here at once, unless
  that setting has its production value of 1800 s or more;
* the reaper leaves an RSE alone for 120 s once it has found nothing to delete there, and remembers that in the cache:
  here daemons have none;
* a judge daemon that finds a dataset or rule locked by another daemon leaves it alone for 1 to 40 minutes: here 2 s.
"""

import functools
import importlib
import runpy
import sys
from pathlib import Path

import rucio.common.cache  # before all that makes caches when it is imported

rucio.common.cache.ENABLE_CACHING = False

import rucio.core.request  # noqa: E402
import rucio.core.rule  # before rule_grouping, which it imports and which imports it
import rucio.core.rule_grouping
import rucio.daemons.common
from rucio.common.config import config_get_int


def force(module, function, only_if_given=True, **values):
    """Make ``module.function`` ignore its caller's choice for these keyword arguments."""
    original = getattr(module, function, None)
    if original is None:  # not in this version of Rucio
        return

    @functools.wraps(original)
    def with_values(*args, **kwargs):
        kwargs.update({k: v for k, v in values.items() if k in kwargs or not only_if_given})
        return original(*args, **kwargs)

    setattr(module, function, with_values)


for name in ("get_and_mark_next", "list_and_mark_transfer_requests_and_source_replicas"):
    force(rucio.core.request, name, only_if_given=False, processed_at_delay=2)
for name in ("run_daemon", "db_workqueue"):
    force(rucio.daemons.common, name, partition_wait_time=0.2)
repairer_rest = config_get_int("repairer", "updated_at_delta", check_config_table=False)
force(rucio.core.rule, "get_stuck_rules", delta=repairer_rest)  # old versions have 1800 in their code
if repairer_rest < 1800:
    setattr(rucio.core.rule_grouping, "__is_retry_required", lambda lock, activity: True)

for name in ("cleaner", "evaluator", "repairer"):  # only now: what they import has been changed above
    importlib.import_module(f"rucio.daemons.judge.{name}").randint = lambda low, high: 2  # used for that pause only

program = Path(sys.executable).with_name("rucio-" + sys.argv[1])
sys.argv = [str(program), *sys.argv[2:]]
runpy.run_path(str(program), run_name="__main__")
