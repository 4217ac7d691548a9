# shellcheck shell=bash disable=SC2034,SC2154
# Certificates and configuration files of the testbed, sourced by `up` with the settings of env.sh.

make_certificates() { (
  cd "$tls"
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -keyout ca.key -out ca.pem -subj "/O=Testbed/CN=Testbed CA" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
  issue() { # FILE COMMON-NAME EXTENSIONS
    openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "/O=Testbed/CN=$2"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" -extfile <(echo "$3")
  }
  issue server localhost "subjectAltName = DNS:localhost, IP:127.0.0.1"
  issue client "Ingest Daemon" "extendedKeyUsage = clientAuth"
  # XRootD wants a key that only it can read, and its CAs in a directory of hashed names
  install -m 644 server.crt xrootd.crt
  install -o xrootd -m 400 server.key xrootd.key
  hash=$(openssl x509 -noout -hash -in ca.pem)
  cp ca.pem "certificates/$hash.0"
  printf '%s\n' "access_id_CA X509 '/O=Testbed/CN=Testbed CA'" "pos_rights globus CA:sign" \
    "cond_subjects globus '\"/O=Testbed/*\"'" > "certificates/$hash.signing_policy"
  (umask 077; cat client.crt client.key > client.pem)
) 2>> "$log/certificates.log"; }

make_database() {
  install -d -o postgres -g postgres -m 700 "$pgdata"
  (cd / && runuser -u postgres -- "$pgbin/initdb" -D "$pgdata" -U postgres -A trust -E UTF8 --locale=C.UTF-8) > "$log/initdb.log"
  # fsync off: a testbed may lose its database with the machine. Never do this where data matters.
  cat >> "$pgdata/postgresql.conf" <<END
listen_addresses = '127.0.0.1'
port = $pg_port
unix_socket_directories = ''
max_connections = 200
shared_buffers = 256MB
timezone = 'UTC'
fsync = off
synchronous_commit = off
full_page_writes = off
END
}

write_rucio_config() {
  cat > "$etc/rucio.cfg" <<END
[common]
logdir = $log
loglevel = INFO

[database]
default = postgresql+$driver://rucio:rucio@127.0.0.1:$pg_port/rucio
pool_size = 5
max_overflow = 10
pool_reset_on_return = rollback

[alembic]
cfg = $etc/alembic.ini

# the identities of account root; an empty one is not made
[bootstrap]
userpass_identity = root
userpass_pwd = secret
userpass_email = root@localhost
x509_identity =
x509_email =
gss_identity =
gss_email =
ssh_identity =
ssh_email =

# CTAO's conventions for names, scopes and paths
[policy]
package = bdms_rucio_policy
permission = generic
schema = bdms_rucio_policy.schema
lfn2pfn_algorithm_default = ctao_bdms
extract_scope = ctao_bdms
support = nobody@localhost
support_rucio = https://localhost/

[client]
rucio_host = https://localhost:$https_port
auth_host = https://localhost:$https_port
ca_cert = $tls/ca.pem
auth_type = userpass
account = ingest
username = ingest
password = ingestpw

# HTTP COPY takes milliseconds; root:// third-party copies take 2.5 s each, whatever the size
[conveyor]
scheme = davs
transfertool = fts3
use_deterministic_id = False
poll_timeout = 10
usercert = $tls/client.pem
cacert = $tls/ca.pem

[repairer]
updated_at_delta = $REPAIRER_REST

# as in production: without it Rucio asks its database for permissions and RSEs again and again
[cache]
url = 127.0.0.1:$cache_port

[monitor]
enable_metrics = False
END
  cat > "$etc/alembic.ini" <<END
[alembic]
script_location = $site/rucio/db/sqla/migrate_repo/
sqlalchemy.url = postgresql+$driver://rucio:rucio@127.0.0.1:$pg_port/rucio
[loggers]
keys = root
[handlers]
keys = stderr
[formatters]
keys = plain
[logger_root]
level = WARN
handlers = stderr
[handler_stderr]
class = StreamHandler
args = (sys.stderr,)
formatter = plain
[formatter_plain]
format = %(levelname)s %(name)s %(message)s
END
}

write_xrootd_config() { # NUMBER: no authentication, loopback only; root:// and https:// share a port
  cat <<END
all.role server
all.export /
oss.localroot $TESTBED/storage-$1
all.adminpath $run/xrd$1
all.pidpath $run/xrd$1
xrd.port $(storage_port "$1")
xrd.allow host localhost
xrd.allow host 127.0.0.1
xrd.tls $tls/xrootd.crt $tls/xrootd.key
xrd.tlsca certdir $tls/certificates
xrd.protocol XrdHttp:$(storage_port "$1") libXrdHttp.so
http.exthandler xrdtpc libXrdHttpTPC.so
http.listingdeny no
http.desthttps no
# the first is the default; sums are cached in an extended attribute of the file
xrootd.chksum max 2 adler32 md5 crc32c
ofs.tpc autorm ttl 60 70 xfr 20 pgm /usr/bin/xrdcp --server
ofs.persist off
END
}
