//! A coturn of the distribution, in the gateway's network, that believes the gateway's credentials.

use std::{
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
};

use feldakte_tests::{browser::tools::Tools, netns::namespace::Namespace};

/// A TURN server. Killed when dropped.
pub struct TurnServer(Child);

/// What gateway and server share.
pub struct Plan {
    secret: String,
}

impl TurnServer {
    /// One that is yet to be started.
    pub fn plan() -> Plan {
        let secret = (0..40).map(|_| char::from(b'a' + rand::random::<u8>() % 26)).collect();
        Plan { secret }
    }
}

impl Plan {
    /// `[relay]` of a gateway, with the secret in a file of that directory.
    pub fn settings(&self, address: Ipv4Addr, dir: &Path) -> String {
        let file = dir.join("relay.secret");
        std::fs::write(&file, &self.secret).expect("written");
        format!(
            "[relay]\nurls = [\"turn:{address}:{PORT}?transport=udp\", \"turn:{address}:{PORT}?transport=tcp\"]\n\
             secret_file = {file:?}\n"
        )
    }

    /// Starts the server there.
    pub fn start(&self, tools: &Tools, namespace: &Namespace, address: Ipv4Addr, dir: &Path) -> TurnServer {
        let config = dir.join("turnserver.conf");
        let (secret, pid) = (&self.secret, dir.join("turnserver.pid"));
        // As in `deploy/coturn`, but for addresses: all of this network are internal ones.
        let text = format!(
            "listening-port={PORT}\nlistening-ip={address}\nrelay-ip={address}\nuse-auth-secret\nrealm=feldakte\n\
             static-auth-secret={secret}\nfingerprint\nstale-nonce=600\nuser-quota=12\nmax-allocate-lifetime=600\n\
             no-tcp-relay\nno-multicast-peers\nno-cli\nno-tls\nno-dtls\nlog-file=stdout\nsimple-log\npidfile={pid}\n",
            pid = pid.display(),
        );
        std::fs::write(&config, text).expect("written");
        let mut command = Command::new(&tools.turnserver);
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        TurnServer(namespace.enter(|| command.spawn()).expect("coturn can be started"))
    }
}

impl Drop for TurnServer {
    fn drop(&mut self) {
        // It may be gone by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const PORT: u16 = 3478;
