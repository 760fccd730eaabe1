# Where to push to; read by the scripts that push. Asks for REGISTRY, and sets `is_tls`: a registry on this machine may
# do without TLS, as docker has it.
if [ -z "${REGISTRY:-}" ]; then
    echo "REGISTRY is not set: name the registry, and the path there if it has one, as in" \
        "REGISTRY=registry.example.com/team" >&2 && exit 1
fi
case $REGISTRY in
    localhost | localhost[:/]* | 127.* | "[::1]"*) is_tls=false ;;
    *) is_tls=true ;;
esac
