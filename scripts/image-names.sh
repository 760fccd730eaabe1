# What images are called; read by the scripts that build and push them. Sets `flavors` and `version`.
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
flavors=$(echo "${FLAVOR:-cpu}" | tr ',' ' ')
for flavor in $flavors; do
    case $flavor in
        cpu | gpu | tpu | demo) ;;
        *) echo "FLAVOR=$flavor is not known: use cpu, gpu, tpu or demo, or several with commas between." >&2 && exit 1 ;;
    esac
done

image() { # image FLAVOR
    echo "codegemma-serving:$version-$1"
}
