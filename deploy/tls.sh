# Certificates of one run: scheduler, workers and client then speak TLS, and to nobody who has none of them.
#   . tls.sh FOLDER      makes them where there are none, and sets the environment of what is started afterwards;
#                        FOLDER must be one that all nodes see, and only you
folder=$1
(
    umask 077
    mkdir -p "$folder"
    [ -s "$folder/tls.crt" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
        -subj "/CN=mgsflow" -keyout "$folder/tls.key" -out "$folder/tls.crt" 2>/dev/null
)
export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=true
export DASK_DISTRIBUTED__COMM__TLS__CA_FILE="$folder/tls.crt"
for part in SCHEDULER WORKER CLIENT; do
    export "DASK_DISTRIBUTED__COMM__TLS__${part}__CERT=$folder/tls.crt"
    export "DASK_DISTRIBUTED__COMM__TLS__${part}__KEY=$folder/tls.key"
done
