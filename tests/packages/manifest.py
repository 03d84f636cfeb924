"""What a rendered manifest asks for; for tests/packages/kubernetes.sh.

manifest.py podman FILE        the options, image aside, that have podman run the
                               container `installer` as its DaemonSet says, then
                               its arguments after a line `--`
manifest.py probe FILE         the command of its startup probe
manifest.py excess FILE        what a container of a DaemonSet could do without
"""
import sys
import yaml


def daemon_sets(path):
    with open(path, encoding="utf-8") as file:
        return [item for item in yaml.safe_load_all(file) if item["kind"] == "DaemonSet"]


def installer(path):
    for item in daemon_sets(path):
        pod = item["spec"]["template"]["spec"]
        for container in pod["containers"]:
            if container["name"] == "installer":
                return pod, container
    sys.exit(f"{path}: no container is called installer")


def podman(path):
    pod, container = installer(path)
    of_pod, of_container = pod["securityContext"], container["securityContext"]
    options = ["--user", f"{of_pod['runAsUser']}:{of_pod['runAsGroup']}"]
    if of_container["readOnlyRootFilesystem"]:
        options += ["--read-only", "--read-only-tmpfs=false"]
    if not of_container["allowPrivilegeEscalation"]:
        options += ["--security-opt", "no-new-privileges"]
    for capability in of_container["capabilities"]["drop"]:
        options += ["--cap-drop", capability]
    directories = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        access = ":ro" if mount.get("readOnly") else ""
        options += ["--volume", f"{directories[mount['name']]}:{mount['mountPath']}{access}"]
    return options + ["--"] + container["args"]


def probe(path):
    return installer(path)[1]["startupProbe"]["exec"]["command"]


# What the API does by default is not enough where a manifest has to say it.
def excess(path):
    for item in daemon_sets(path):
        pod = item["spec"]["template"]["spec"]
        of_pod = pod.get("securityContext", {})
        for key in ("hostNetwork", "hostPID", "hostIPC", "initContainers"):
            if key in pod:
                yield key
        if pod.get("automountServiceAccountToken") is not False:
            yield "a token"
        if of_pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield "another seccomp profile"
        if pod.get("tolerations") != [{"operator": "Exists"}]:
            yield "not every node"
        for container in pod["containers"]:
            context = container.get("securityContext", {})
            if context.get("capabilities") != {"drop": ["ALL"]}:
                yield "capabilities"
            if context.get("privileged") is not False or context.get("allowPrivilegeEscalation") is not False:
                yield "privileges"
            if context.get("readOnlyRootFilesystem") is not True:
                yield "a root file system to write to"
            if set(container.get("resources", {}).get("limits", {})) != {"cpu", "memory"}:
                yield "no limits"
        for volume in pod.get("volumes", []):
            path = volume.get("hostPath", {}).get("path", volume["name"])
            if not path.endswith(("/oci/hooks.d", "/nri/nri.sock")):
                yield path


print("\n".join({"podman": podman, "probe": probe, "excess": excess}[sys.argv[1]](sys.argv[2])))
