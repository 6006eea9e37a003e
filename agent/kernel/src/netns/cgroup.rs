//! A pod's uid from a process's cgroup path. Not for containers: all of a pod's share its network namespace.

/// The uid in the text of /proc/PID/cgroup, for cgroup v1 and v2 and both cgroup drivers of the kubelet:
/// `…/kubepods/burstable/pod<uid>/…` (cgroupfs) and `…/kubepods-burstable-pod<uid with _>.slice/…` (systemd);
/// `pkg/kubelet/cm/cgroup_manager_linux.go`, `pod_container_manager_linux.go`. Static pods have a config hash as uid.
pub fn pod_uid(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        // hierarchy:controllers:path, and the path may contain colons.
        let path = line.splitn(3, ':').nth(2)?;
        let mut in_kubepods = false;
        path.split('/').find_map(|part| {
            if let Some(slice) = part.strip_suffix(".slice") {
                in_kubepods |= slice.split('-').any(|word| word == "kubepods");
                let (_, id) = slice.split_once("kubepods")?.1.rsplit_once("pod")?;
                return uid(&id.replace('_', "-"));
            }
            let found = if in_kubepods { part.strip_prefix("pod").and_then(uid) } else { None };
            in_kubepods |= part == "kubepods";
            found
        })
    })
}

/// A uuid, or the 32 hex digits of a static pod's hash.
fn uid(text: &str) -> Option<String> {
    let hex = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = text.bytes().filter(|byte| *byte == b'-').count();
    let is_uid = hex == 32 && (dashes == 4 || dashes == 0) && hex + dashes == text.len();
    is_uid.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0f2a6e0c-1f9b-4a52-9f10-0a1b2c3d4e5f";

    #[test]
    fn every_layout_the_kubelet_writes() {
        for text in [
            format!("0::/kubepods/burstable/pod{UID}/3a9c\n"),
            format!("0::/kubepods/pod{UID}/3a9c\n"),
            format!("12:pids:/user.slice\n4:memory:/kubelet/kubepods/besteffort/pod{UID}/cri-3a9c\n"),
            format!(
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/cri-containerd-3a9c.scope\n",
                UID.replace('-', "_")
            ),
            format!(
                "0::/kubepods.slice/kubepods-pod{}.slice/crio-3a9c.scope/container\n",
                UID.replace('-', "_")
            ),
            format!(
                "1:name=systemd:/system.slice/k.service/kubelet-kubepods-besteffort-pod{}.slice:cri-containerd:3a9c\n",
                UID.replace('-', "_")
            )
            .replace(".slice:cri", ".slice/cri:"),
            // The reader's own cgroup namespace puts the root elsewhere.
            format!("0::/../../kubepods/burstable/pod{UID}/3a9c\n"),
        ] {
            assert_eq!(pod_uid(&text).as_deref(), Some(UID), "{text}");
        }
    }

    #[test]
    fn a_static_pod_has_a_hash() {
        let hash = "8b7f0c4d5e6f708192a3b4c5d6e7f809";
        assert_eq!(pod_uid(&format!("0::/kubepods/burstable/pod{hash}/x\n")).as_deref(), Some(hash));
    }

    #[test]
    fn nothing_else_is_a_pod() {
        for text in [
            "0::/user.slice/user-1000.slice/session-3.scope\n",
            "0::/\n",
            "",
            "0::/machine/podman-1234\n",
            // A name somebody chose that only looks alike.
            &format!("0::/pod{UID}/x\n"),
            "0::/kubepods/burstable/podnot-a-uid/x\n",
            "0::/kubepods.slice/kubepods-burstable.slice\n",
        ] {
            assert_eq!(pod_uid(text), None, "{text}");
        }
    }
}
