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


def excess(path):
    for item in daemon_sets(path):
        pod = item["spec"]["template"]["spec"]
        for key in ("hostNetwork", "hostPID", "hostIPC", "initContainers"):
            if key in pod:
                yield key
        if pod["automountServiceAccountToken"]:
            yield "a token"
        if pod["securityContext"]["seccompProfile"] != {"type": "RuntimeDefault"}:
            yield "another seccomp profile"
        if pod["tolerations"] != [{"operator": "Exists"}]:
            yield "not every node"
        for container in pod["containers"]:
            context = container["securityContext"]
            if context["capabilities"] != {"drop": ["ALL"]}:
                yield "capabilities"
            if context["privileged"] or context["allowPrivilegeEscalation"]:
                yield "privileges"
            if not context["readOnlyRootFilesystem"]:
                yield "a root file system to write to"
            if set(container["resources"]["limits"]) != {"cpu", "memory"}:
                yield "no limits"
        for volume in pod["volumes"]:
            path = volume["hostPath"]["path"]
            if not path.endswith(("/oci/hooks.d", "/nri/nri.sock")):
                yield path


print("\n".join({"podman": podman, "probe": probe, "excess": excess}[sys.argv[1]](sys.argv[2])))
