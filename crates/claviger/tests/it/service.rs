//! The gateway as a service of systemd: what it tells the service manager, and the unit that is shipped.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Conn, Gateway, Major, PERMIT_ALL, binary, run, skip};

/// What was told next, line by line.
fn told(manager: &UnixDatagram) -> Vec<String> {
    let mut buffer = [0; 4096];
    let length = manager.recv(&mut buffer).expect("the service manager is told in time");
    String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned).collect()
}

/// What was told next, apart from signs of life.
fn told_besides_life(manager: &UnixDatagram) -> Vec<String> {
    std::iter::repeat_with(|| told(manager)).find(|lines| *lines != ["WATCHDOG=1"]).unwrap()
}

#[test]
fn the_service_manager_is_told_how_it_goes() {
    run(async {
        let server = server!(Major::V15);
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, "");
        gateway.add(&["user", "alice"]);
        let socket = gateway.path("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        gateway.environment("NOTIFY_SOCKET", socket.to_str().unwrap());
        gateway.environment("WATCHDOG_USEC", "300000");
        gateway.start();
        assert_eq!(told_besides_life(&manager)[0], "READY=1");
        assert_eq!(told(&manager), ["WATCHDOG=1"]);
        assert_eq!(told(&manager), ["WATCHDOG=1"], "again and again");
        gateway.signal("HUP");
        assert_eq!(told_besides_life(&manager), ["RELOADING=1"]);
        assert_eq!(told_besides_life(&manager), ["READY=1", "STATUS=serving"]);
        std::fs::write(gateway.path("policies/wrong.cedar"), "nonsense").unwrap();
        gateway.signal("HUP");
        assert_eq!(told_besides_life(&manager), ["RELOADING=1"]);
        let status = told_besides_life(&manager);
        assert_eq!((status[0].as_str(), status[1].contains("not taken up")), ("READY=1", true), "it serves as before");
        gateway.signal("TERM");
        assert_eq!(told_besides_life(&manager)[0], "STOPPING=1");
        assert!(gateway.wait().success());
    });
}

#[test]
fn the_shipped_unit_is_sound() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/claviger.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        return skip("systemd-analyze is not there to verify the unit");
    };
    assert!(version.status.success());
    // The unit as it is, but for the program and the user, which this machine need not have.
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().join("claviger.service");
    let installed = text.replace("/usr/local/bin/claviger", binary().to_str().unwrap());
    std::fs::write(&here, installed.replace("User=claviger", "User=daemon").replace("Group=claviger", "Group=daemon")).unwrap();
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&here).output().unwrap();
    let complaints = String::from_utf8_lossy(&verified.stderr).into_owned();
    let ours: Vec<_> = complaints.lines().filter(|line| line.contains("claviger.service")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{complaints}");
}
