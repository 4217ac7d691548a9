#!/bin/bash
# old_policy.sh PACKAGE-DIRECTORY MAJOR: fit CTAO's policy package, made for Rucio 38 and later, to an older server, which
# wants its version in a plain list, a schema module with a validate_schema(), and a permission module that decides.
set -euo pipefail
cd "$1"
[ -e schema_new.py ] || mv schema.py schema_new.py
sed -i "s/^SUPPORTED_VERSION.*/SUPPORTED_VERSION = ['$2']/" __init__.py
cat > schema.py <<END
from bdms_rucio_policy import schema_new
from rucio.common.schema import generic
from rucio.common.schema.generic import *  # noqa: F403

SCOPE_NAME_REGEXP = schema_new.SCOPE_NAME_REGEXP
generic.NAME.update(schema_new.NAME)  # in place: every schema of the generic module refers to this object
END
echo 'from rucio.core.permission.generic import *  # noqa: F403' > permission.py
