# shellcheck shell=bash
# Puts who publishes the packages, as packaging/publisher says, into what they are built
# from. Sourced after lib.sh.

# Without a maintainer: the field must be there, and this address cannot (RFC 2606).
UNPUBLISHED='oci-bind-hook (not published) <nobody@oci-bind-hook.invalid>'

# Sets MAINTAINER and HOMEPAGE. `%` would begin a macro of RPM.
read_publisher() {
  local file=packaging/publisher
  # shellcheck source=packaging/publisher
  . "$ROOT/$file"
  if [ -z "$MAINTAINER" ]; then
    say "the packages name no maintainer: before you publish them, set MAINTAINER in $file"
    MAINTAINER=$UNPUBLISHED
  fi
  [[ $MAINTAINER =~ ^[^%@\<\>$'\n']+\ \<[^%@\<\>[:space:]]+@[^%@\<\>[:space:]]+\>$ ]] ||
    die "MAINTAINER in $file is '$MAINTAINER': write 'Name <user@host>'"
  [[ -z $HOMEPAGE || $HOMEPAGE =~ ^https?://[^%[:space:]]+$ ]] ||
    die "HOMEPAGE in $file is '$HOMEPAGE': write an address that begins with https://"
}

# name_publisher FILE...: replaces @MAINTAINER@ and @HOMEPAGE@. Without a homepage, the
# line of the field is left out.
name_publisher() {
  local file text
  read_publisher
  for file in "$@"; do
    [ -n "$HOMEPAGE" ] || sed -i '/@HOMEPAGE@/d' "$file"
    text=$(cat "$file")
    text=${text//@MAINTAINER@/"$MAINTAINER"}
    printf '%s\n' "${text//@HOMEPAGE@/"$HOMEPAGE"}" >"$file"
  done
}
