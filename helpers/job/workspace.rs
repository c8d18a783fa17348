//! The sandbox of one job on the pilot's side: made or taken, filled, and left where the output is wanted.

#![forbid(unsafe_code)]

use super::Request;
use crate::files::component::Component;
use crate::files::content::{Copier, Uncopied};
use crate::files::metadata::Metadata;
use crate::files::path::split;
use crate::files::proxy;
use crate::files::sandbox::{Names, below};
use crate::ground::escape::Escaped;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use core::convert::Infallible;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Timestamps, fchmod, futimens, mkdirat, openat, renameat, unlinkat,
};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The name of the stand-in for a proxy when the switcher stays in this account and needs none.
const PLACEHOLDER_NAME: &[u8] = b".condor_glexec_job.credential";

/// What is in it: no switcher that asks for an identity would take it.
const PLACEHOLDER: &[u8] = b"No proxy: the switcher stays in this account.\n";

/// How many names are tried for a new sandbox.
const NAMES: u32 = 1000;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The sandbox S. As long as the job has it, `home` is the directory S.condor.
pub struct Workspace {
    /// Its names in its parent.
    pub place: Names,
    /// The pilot's own directory, under whichever of the two names it is at the moment.
    pub home: OwnedFd,
    /// P, the proxy's name in it.
    pub proxy: Component,
    /// Whether the proxy in it is a credential, and not only a stand-in.
    pub proxy_is_real: bool,
    /// The name of the proxy if it was put there by us, so that it has to go.
    proxy_put: bool,
    /// Whether the sandbox was made by us.
    made: bool,
    /// All that was put into it by us.
    put: Vec<Component>,
    run_directory: Option<Entry>,
    output: Option<Entry>,
}

/// A name in an open directory.
struct Entry {
    directory: OwnedFd,
    directory_path: Vec<u8>,
    name: Component,
}

impl Entry {
    fn path(&self) -> Vec<u8> {
        below(&self.directory_path, &self.name)
    }
}

/// What is to be put into the sandbox.
struct Source {
    file: OwnedFd,
    found: Metadata,
    name: Component,
}

impl Workspace {
    /// Makes or takes the sandbox and puts the proxy and the input files into it. All that exists already is opened and checked before
    /// anything is made; if something fails after that, it is undone.
    ///
    /// # Errors
    /// Names the file or directory that is missing or unfit.
    pub fn prepare(request: &Request) -> Outcome<Self> {
        let inputs: Vec<Source> =
            request.inputs.iter().map(|input| input_file(&input.file, input.name.clone())).collect::<Outcome<_>>()?;
        let proxy = request.proxy.as_deref().map(proxy_file).transpose()?;
        let output = request.output.as_deref().map(output_place).transpose()?;
        let mut workspace = match &request.sandbox {
            Some(sandbox) => Self::enter(Names::find(&resolved(sandbox)?)?, false)?,
            None => Self::make(request, output.as_ref())?,
        };
        workspace.output = output;
        match workspace.fill(inputs, proxy) {
            Ok(()) => Ok(workspace),
            Err(failure) => {
                workspace.undo()?;
                Err(failure)
            }
        }
    }

    fn enter(place: Names, made: bool) -> Outcome<Self> {
        place.require_own_parent()?;
        let home = place.open_own(&place.name)?.directory;
        let proxy = Component::new(PLACEHOLDER_NAME).or_fail(|| "the stand-in's name")?;
        Ok(Workspace {
            place,
            home,
            proxy,
            proxy_is_real: false,
            proxy_put: false,
            made,
            put: Vec::new(),
            run_directory: None,
            output: None,
        })
    }

    /// Makes a sandbox below the directory that was asked for, or below one that is made for this job only.
    fn make(request: &Request, output: Option<&Entry>) -> Outcome<Self> {
        // The other account has to pass through both, and to make a name beside the sandbox.
        let (run_mode, mode) = if request.switcher.is_some() { (0o1777, 0o711) } else { (0o700, 0o700) };
        let run_directory = match (&request.execute, output) {
            (Some(_), _) => None,
            (None, Some(output)) => Some(make_run_directory(output.directory_path.clone(), run_mode)?),
            (None, None) => Some(make_run_directory(resolved(&temporary())?, run_mode)?),
        };
        let made = match (&request.execute, &run_directory) {
            (Some(execute), _) => resolved(execute),
            (None, run_directory) => Ok(run_directory.as_ref().map(Entry::path).unwrap_or_default()),
        }
        .and_then(|execute| make_sandbox(&execute, mode));
        match made {
            Ok(workspace) => Ok(Workspace { run_directory, ..workspace }),
            Err(failure) => {
                run_directory.as_ref().map_or(Ok(()), remove_directory)?;
                Err(failure)
            }
        }
    }

    fn fill(&mut self, inputs: Vec<Source>, proxy: Option<Proxy>) -> Outcome {
        if let Some(output) = &self.output {
            let device = |directory: &OwnedFd| Metadata::of(directory).map(|found| found.device());
            let same = device(&self.place.parent).and_then(|here| Ok(here == device(&output.directory)?));
            if !same.or_fail(|| "cannot look at the output's directory")? {
                return Err(Failure::permanent(format_args!(
                    "the output {} is on another file system than the sandbox's parent {}; put one beside the other (--execute)",
                    Escaped(&output.path()),
                    Escaped(&self.place.parent_path)
                )));
            }
        }
        match proxy {
            None => {
                let file = self.create(&self.proxy.clone())?;
                rustix::io::write(&file, PLACEHOLDER).or_fail(|| "cannot write into the sandbox")?;
                self.proxy_put = true;
            }
            Some(proxy) => {
                self.proxy = proxy.source.name.clone();
                self.proxy_is_real = true;
                let home = Metadata::of(&self.home).or_fail(|| "cannot look at the sandbox")?;
                if proxy.directory.identity != home.identity {
                    self.put(&proxy.source)?;
                    self.proxy_put = true;
                }
            }
        }
        for input in &inputs {
            let file = self.put(input)?;
            let mode = Mode::from_raw_mode(u32::from(input.found.mode & 0o755));
            fchmod(&file, mode)
                .and_then(|()| futimens(&file, &Timestamps::from(input.found.mtime)))
                .or_fail(|| format!("cannot set the mode and time of {}", input.name))?;
        }
        Ok(())
    }

    fn put(&mut self, source: &Source) -> Outcome<OwnedFd> {
        let file = self.create(&source.name)?;
        let copied = Copier::new(self.home.as_fd())
            .copy(source.file.as_fd(), file.as_fd(), &source.found, |_| Ok::<(), Infallible>(()));
        let failed = || format!("cannot copy {} into the sandbox", source.name);
        match copied {
            Ok(()) => Ok(file),
            Err(Uncopied::Changed) => Err("it changed meanwhile").or_fail(failed),
            Err(Uncopied::System(error)) => Err(error).or_fail(failed),
            Err(Uncopied::Stopped(never)) => match never {},
        }
    }

    fn create(&mut self, name: &Component) -> Outcome<OwnedFd> {
        let file = openat(&self.home, name.c_str(), NEW_FILE, Mode::RUSR | Mode::WUSR)
            .or_fail(|| format!("cannot make {name} in the sandbox"))?;
        self.put.push(name.clone());
        Ok(file)
    }

    /// S, its absolute path.
    pub fn path(&self) -> Vec<u8> {
        self.place.sandbox_path()
    }

    /// Where the pilot's own directory is while the job has the sandbox.
    pub fn parked_path(&self) -> Vec<u8> {
        self.place.parked_path()
    }

    /// After setup: removes the job's copy of the stand-in for a proxy, which would only mislead it. The sandbox is still this account's
    /// then, since there is a stand-in only where the switcher stays in it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn hide_stand_in(&self) -> Outcome {
        if self.proxy_is_real {
            return Ok(());
        }
        openat(&self.place.parent, self.place.name.c_str(), DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
            .and_then(|sandbox| unlinkat(sandbox, self.proxy.c_str(), AtFlags::empty()))
            .or_fail(|| format!("cannot remove {} from the sandbox", self.proxy))
    }

    /// Whether the sandbox is in our hands: under its name, and nothing is parked beside it.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn is_home(&self) -> Outcome<bool> {
        let home = Metadata::of(&self.home).or_fail(|| "cannot look at the sandbox")?;
        let named = self.place.look(&self.place.name)?;
        Ok(named.is_some_and(|named| named.identity == home.identity) && self.place.look(&self.place.parked)?.is_none())
    }

    /// For a job that has not run: removes what was made and put here.
    ///
    /// # Errors
    /// When something cannot be removed, or is in the way; says where it is.
    pub fn undo(&mut self) -> Outcome {
        for name in core::mem::take(&mut self.put) {
            match unlinkat(&self.home, name.c_str(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error).or_fail(|| format!("cannot remove {name}")),
            }
        }
        if self.made {
            unlinkat(&self.place.parent, self.place.name.c_str(), AtFlags::REMOVEDIR)
                .or_fail(|| format!("cannot remove the sandbox {}", Escaped(&self.path())))?;
        }
        self.run_directory.as_ref().map_or(Ok(()), remove_directory)
    }

    /// For a job that has run, and whose sandbox has come back: removes the credential that was put there and leaves all else where it is
    /// wanted. Gives the place, or nothing if there is nothing and nobody asked for a place.
    ///
    /// # Errors
    /// When it has to stay where it is; says where.
    pub fn leave(&mut self) -> Outcome<Option<Vec<u8>>> {
        let stays = || format!("the output stays in {}", Escaped(&self.path()));
        if self.proxy_put {
            match unlinkat(&self.home, self.proxy.c_str(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error).or_fail(|| format!("{}; cannot remove {}", stays(), self.proxy)),
            }
        }
        let (from, name) = (&self.place.parent, self.place.name.c_str());
        let left = if let Some(output) = &self.output {
            if self.made {
                fchmod(&self.home, new_directory_mode()).or_fail(stays)?;
            }
            renameat(from, name, &output.directory, output.name.c_str())
                .or_fail(|| format!("{}; cannot rename it to {}", stays(), Escaped(&output.path())))?;
            Some(output.path())
        } else if self.made {
            match unlinkat(from, name, AtFlags::REMOVEDIR) {
                Ok(()) => None,
                Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(Some(self.path())),
                Err(error) => return Err(error).or_fail(stays),
            }
        } else {
            Some(self.path())
        };
        self.run_directory.as_ref().map_or(Ok(()), remove_directory)?;
        Ok(left)
    }
}

/// The absolute path of something that exists, without symbolic links.
fn resolved(path: &Path) -> Outcome<Vec<u8>> {
    let resolved = path.canonicalize().or_fail(|| shown(path))?;
    Ok(resolved.into_os_string().into_vec())
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_encoded_bytes()).to_string()
}

/// Opens a file of the caller's that is to be copied. Without waiting, should it be a FIFO.
fn input_file(path: &Path, name: Component) -> Outcome<Source> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::empty()).or_fail(|| format!("cannot open the input {}", shown(path)))?;
    let found = Metadata::of(&file).or_fail(|| format!("cannot look at the input {}", shown(path)))?;
    if found.kind == FileType::RegularFile {
        Ok(Source { file, found, name })
    } else {
        Err(Failure::permanent(format_args!(
            "the input {} is not a regular file; for a tree, use --sandbox",
            shown(path)
        )))
    }
}

/// The proxy's file, and the directory that it is in.
struct Proxy {
    source: Source,
    directory: Metadata,
}

fn proxy_file(path: &Path) -> Outcome<Proxy> {
    let failed = || format!("the proxy {}", shown(path));
    let (directory_path, name) = split(&resolved(path)?)?;
    let directory = openat(CWD, directory_path.as_slice(), DIRECTORY, Mode::empty()).or_fail(failed)?;
    let file = proxy::open(directory.as_fd(), &name)?;
    let found = Metadata::of(&file).or_fail(failed)?;
    Ok(Proxy { source: Source { file, found, name }, directory: Metadata::of(&directory).or_fail(failed)? })
}

/// Where the output is to be: a name that is free, or an empty directory.
fn output_place(path: &Path) -> Outcome<Entry> {
    let failed = || format!("the output {}", shown(path));
    let (directory, name) = split(&std::path::absolute(path).or_fail(failed)?.into_os_string().into_vec())?;
    let directory_path = resolved(&PathBuf::from(std::ffi::OsString::from_vec(directory)))?;
    let directory = openat(CWD, directory_path.as_slice(), DIRECTORY, Mode::empty()).or_fail(failed)?;
    let refuse = |why: &str| Err(Failure::permanent(format_args!("the output {} {why}; give a new name", shown(path))));
    match Metadata::at(&directory, name.c_str()) {
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error).or_fail(failed),
        Ok(found) if !found.is_directory() => return refuse("exists already and is no directory"),
        Ok(found) => {
            if std::fs::read_dir(path).or_fail(failed)?.next().is_some() {
                return refuse("exists already and is not empty");
            }
            if found.device() != Metadata::of(&directory).or_fail(failed)?.device() {
                return refuse("is a mount point");
            }
        }
    }
    Ok(Entry { directory, directory_path, name })
}

/// The directory for what nobody has named a place for.
fn temporary() -> PathBuf {
    std::env::var_os("TMPDIR").map(PathBuf::from).filter(|path| path.is_absolute()).unwrap_or_else(|| "/tmp".into())
}

/// Makes a directory for one job that nobody else knows the name of.
fn make_run_directory(directory_path: Vec<u8>, mode: u32) -> Outcome<Entry> {
    let failed = || format!("cannot make a directory below {}", Escaped(&directory_path));
    let directory = openat(CWD, directory_path.as_slice(), DIRECTORY, Mode::empty()).or_fail(failed)?;
    let mut random = [0_u8; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).or_fail(failed)?;
    let name = format!("condor_glexec_job.{:016x}", u64::from_ne_bytes(random));
    let name = Component::new(name.as_bytes()).or_fail(failed)?;
    mkdirat(&directory, name.c_str(), Mode::RWXU).or_fail(failed)?;
    // Apart from mkdir, because the umask and mkdir itself take bits away.
    let opened_up = openat(&directory, name.c_str(), DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
        .and_then(|made| fchmod(made, Mode::from_raw_mode(mode)))
        .or_fail(failed);
    let entry = Entry { directory, directory_path, name };
    match opened_up {
        Ok(()) => Ok(entry),
        Err(failure) => {
            remove_directory(&entry)?;
            Err(failure)
        }
    }
}

fn remove_directory(entry: &Entry) -> Outcome {
    unlinkat(&entry.directory, entry.name.c_str(), AtFlags::REMOVEDIR)
        .or_fail(|| format!("cannot remove {}", Escaped(&entry.path())))
}

/// Makes the sandbox itself, under a name that is free.
fn make_sandbox(execute: &[u8], mode: u32) -> Outcome<Workspace> {
    let failed = || format!("cannot make a sandbox below {}", Escaped(execute));
    for number in 0..NAMES {
        let suffix = if number == 0 { String::new() } else { format!("_{number}") };
        let name = format!("dir_{}{suffix}", std::process::id());
        let path = below(execute, &Component::new(name.as_bytes()).or_fail(failed)?);
        let place = Names::find(&path)?;
        if place.look(&place.parked)?.is_some() {
            continue;
        }
        match mkdirat(&place.parent, place.name.c_str(), Mode::RWXU) {
            Err(Errno::EXIST) => continue,
            made => made.or_fail(failed)?,
        }
        let entered = Workspace::enter(place, true).and_then(|workspace| {
            fchmod(&workspace.home, Mode::from_raw_mode(mode)).or_fail(failed)?;
            Ok(workspace)
        });
        if entered.is_err() {
            unlinkat(CWD, path.as_slice(), AtFlags::REMOVEDIR)
                .or_fail(|| format!("cannot remove the sandbox {}", Escaped(&path)))?;
        }
        return entered;
    }
    Err(Failure::permanent(format_args!("{}: all names are taken", failed())))
}

/// The mode that a new directory of the caller's gets. The umask can only be asked for by setting it.
fn new_directory_mode() -> Mode {
    let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::umask(mask);
    Mode::RWXU | (Mode::RWXG | Mode::RWXO).difference(mask)
}
