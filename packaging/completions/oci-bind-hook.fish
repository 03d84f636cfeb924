# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_oci_bind_hook_global_optspecs
    string join \n config= h/help V/version
end

function __fish_oci_bind_hook_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_oci_bind_hook_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_oci_bind_hook_using_subcommand
    set -l cmd (__fish_oci_bind_hook_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c oci-bind-hook -n "__fish_oci_bind_hook_needs_command" -l config -d 'Configuration file, which must exist [default: /etc/oci-bind-hook/config.toml, if it exists]' -r -F
complete -c oci-bind-hook -n "__fish_oci_bind_hook_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_needs_command" -s V -l version -d 'Print version'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_needs_command" -f -a "create-runtime" -d 'The OCI hook: reads the container\'s state from standard input'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_needs_command" -f -a "run" -d 'Run a command in a new cgroup under a policy'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_needs_command" -f -a "attach" -d 'Put a policy on an existing cgroup, or replace its policy'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_needs_command" -f -a "detach" -d 'Take the policy off a cgroup'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_needs_command" -f -a "status" -d 'Show every cgroup under a policy on this host, and what was decided there'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_needs_command" -f -a "load" -d 'Load and pin the programs before the first container starts'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_needs_command" -f -a "unload" -d 'Remove the pinned programs that no cgroup uses'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_needs_command" -f -a "cdi" -d 'Print a CDI specification that injects the hook, for Docker and containerd'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_needs_command" -f -a "check" -d 'Check this host, and say how to fix what doesn\'t work'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand create-runtime" -l config -d 'Configuration file, which must exist [default: /etc/oci-bind-hook/config.toml, if it exists]' -r -F
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand create-runtime" -l dry-run -d 'Print what would be done, as JSON, without attaching anything'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand create-runtime" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand run" -l ipv6 -d 'The IPv6 address to use' -r -f
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand run" -l ipv4 -d 'The IPv4 address to use' -r -f
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand run" -l loopback -d 'What loopback means: auto, host, private or an address in 127.0.0.0/8 [default: as configured, otherwise auto]' -r -f -a "auto\t''
host\t''
private\t''"
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand run" -l ports -d 'Ports to move, ASKED:ACTUAL[/tcp|/udp],..., each a port or FIRST-LAST' -r -f
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand run" -l exempt -d 'Ports to leave alone, PORT[/tcp|/udp],..., each a port or FIRST-LAST' -r -f
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand run" -l multicast -d 'UDP ports for multicast and broadcast, PORT,..., each a port or FIRST-LAST' -r -f
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand run" -l guard -d 'Drop packets whose local address is not the assigned one: on or off [default: as configured, otherwise on]' -r -f -a "on\t''
off\t''"
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand run" -l config -d 'Configuration file, which must exist [default: /etc/oci-bind-hook/config.toml, if it exists]' -r -F
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand attach" -l pid -d 'The cgroup of the container that this process is in' -r -f
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand attach" -l cgroup -d 'The cgroup: a directory below the cgroup2 mount, or a path within the hierarchy such as /system.slice/web.service' -r -f -a "(__fish_complete_directories)"
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand attach" -l container -d 'The cgroup of the running container with this id, or whose id begins with it' -r -f
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand attach" -l ipv6 -d 'The IPv6 address to use' -r -f
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand attach" -l ipv4 -d 'The IPv4 address to use' -r -f
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand attach" -l loopback -d 'What loopback means: auto, host, private or an address in 127.0.0.0/8 [default: as configured, otherwise auto]' -r -f -a "auto\t''
host\t''
private\t''"
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand attach" -l ports -d 'Ports to move, ASKED:ACTUAL[/tcp|/udp],..., each a port or FIRST-LAST' -r -f
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand attach" -l exempt -d 'Ports to leave alone, PORT[/tcp|/udp],..., each a port or FIRST-LAST' -r -f
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand attach" -l multicast -d 'UDP ports for multicast and broadcast, PORT,..., each a port or FIRST-LAST' -r -f
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand attach" -l guard -d 'Drop packets whose local address is not the assigned one: on or off [default: as configured, otherwise on]' -r -f -a "on\t''
off\t''"
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand attach" -l config -d 'Configuration file, which must exist [default: /etc/oci-bind-hook/config.toml, if it exists]' -r -F
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand attach" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand detach" -l pid -d 'The cgroup of the container that this process is in' -r -f
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand detach" -l cgroup -d 'The cgroup: a directory below the cgroup2 mount, or a path within the hierarchy such as /system.slice/web.service' -r -f -a "(__fish_complete_directories)"
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand detach" -l container -d 'The cgroup of the running container with this id, or whose id begins with it' -r -f
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand detach" -l config -d 'Configuration file, which must exist [default: /etc/oci-bind-hook/config.toml, if it exists]' -r -F
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand detach" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand status" -l config -d 'Configuration file, which must exist [default: /etc/oci-bind-hook/config.toml, if it exists]' -r -F
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand status" -l json -d 'Print JSON'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand status" -l watch -d 'Refresh every two seconds, until interrupted'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand load" -l device -d 'Handle only this network device; do nothing if no programs are pinned' -r -f
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand load" -l config -d 'Configuration file, which must exist [default: /etc/oci-bind-hook/config.toml, if it exists]' -r -F
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand load" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand unload" -l config -d 'Configuration file, which must exist [default: /etc/oci-bind-hook/config.toml, if it exists]' -r -F
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand unload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand cdi" -l config -d 'Configuration file, which must exist [default: /etc/oci-bind-hook/config.toml, if it exists]' -r -F
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand cdi" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand check" -l config -d 'Configuration file, which must exist [default: /etc/oci-bind-hook/config.toml, if it exists]' -r -F
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand check" -l json -d 'Print JSON'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-bind-hook -n "__fish_oci_bind_hook_using_subcommand status" -a '(oci-bind-hook status 2>/dev/null | sed -n "/^on /q;s/^\([0-9a-f]\{12\}\).*/\1/p")'
