//! Binds the address at which Envoy connects: a TCP port, or a Unix socket with a mode.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::inbound;

/// The address at which Envoy connects, from `grpc.listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address, such as `127.0.0.1:9001`.
    Tcp(SocketAddr),
    /// A Unix socket, configured as `unix:/path`.
    Unix {
        /// The path of the socket in the file system.
        path: PathBuf,
        /// `grpc.socket_mode`: a process needs write permission to connect. Default 0660.
        mode: u32,
    },
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A bound socket, before anything is served.
#[derive(Debug)]
pub(crate) enum Listener {
    /// A bound TCP port.
    Tcp(TcpListener),
    /// A bound Unix socket, and its name, which is removed with it.
    Unix(UnixListener, SocketFile),
}

/// Binds the address. A Unix socket of a process that does not answer any more is replaced.
pub(crate) async fn bind(listen: &Listen) -> io::Result<Listener> {
    match listen {
        Listen::Tcp(address) => Ok(Listener::Tcp(inbound::bind(*address).await?)),
        Listen::Unix { path, mode } => {
            refuse_what_is_in_use(path).await?;
            let (listener, file) = SocketFile::make(path, *mode)?;
            Ok(Listener::Unix(listener, file))
        }
    }
}

async fn refuse_what_is_in_use(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket"));
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
    }
}

/// The name of a Unix socket in the file system; dropping it removes the name.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    /// Binds under another name and moves the socket to its path when it has its mode: no process can connect before, and
    /// a stale socket is replaced in one step.
    fn make(path: &Path, mode: u32) -> io::Result<(UnixListener, Self)> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&beside)?;
        fs::set_permissions(&beside, Permissions::from_mode(mode))?;
        fs::rename(&beside, path)?;
        let inode = fs::symlink_metadata(path)?.ino();
        Ok((listener, Self { path: path.to_owned(), inode }))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // another process may have replaced it meanwhile
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            // a name that could not be removed is replaced at the next start
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path, mode: u32) -> Listen {
        Listen::Unix { path: path.to_owned(), mode }
    }

    #[tokio::test]
    async fn a_socket_has_its_mode_and_goes_with_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grpc.sock");
        for mode in [0o600, 0o660, 0o666] {
            let bound = bind(&at(&path, mode)).await.unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing lies beside it");
            drop(bound);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn a_live_socket_and_a_file_are_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (live, file) = (folder.path().join("live.sock"), folder.path().join("file"));
        let _live = bind(&at(&live, 0o660)).await.unwrap();
        let error = bind(&at(&live, 0o660)).await.unwrap_err();
        assert_eq!(error.to_string(), "another process answers there");
        assert!(UnixStream::connect(&live).await.is_ok());

        fs::write(&file, "precious").unwrap();
        let error = bind(&at(&file, 0o660)).await.unwrap_err();
        assert_eq!(error.to_string(), "there is a file that is not a socket");
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_successors_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grpc.sock");
        // a process that was killed leaves the name behind
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let first = bind(&at(&path, 0o660)).await.unwrap();
        assert!(UnixStream::connect(&path).await.is_ok());

        let Listener::Unix(socket, name) = first else { panic!("a Unix socket") };
        drop(socket);
        let _second = bind(&at(&path, 0o660)).await.unwrap();
        drop(name);
        assert!(UnixStream::connect(&path).await.is_ok(), "the name is the second one's by now");
    }
}
