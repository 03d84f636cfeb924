//! Programs and maps by the ids that the kernel gives them, whether they are pinned or not.
#![expect(
    unsafe_code,
    reason = "the kernel fills plain structs, and returns descriptors"
)]

use aya_obj::generated::{bpf_cmd, bpf_prog_info};
use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd};

use super::{ask, call, zeroed};

/// More maps than any program has.
const MAX_MAPS: u32 = 64;

/// What the kernel tells of a program.
#[derive(Clone, Debug)]
pub struct ProgramInfo {
    /// Its name, of at most 15 characters.
    pub name: String,
    /// The ids of the maps that it uses.
    pub maps: Vec<u32>,
}

/// What the kernel tells of a map.
#[derive(Clone, Debug)]
pub struct MapInfo {
    /// Its name, of at most 15 characters.
    pub name: String,
    /// Its `bpf_map_type`.
    pub map_type: u32,
    /// The size of its keys in bytes.
    pub key_size: usize,
}

/// Opens a program (`BPF_PROG_GET_FD_BY_ID`); ENOENT if there is none with this id. Needs
/// CAP_SYS_ADMIN.
pub fn program(id: u32) -> io::Result<OwnedFd> {
    by_id(bpf_cmd::BPF_PROG_GET_FD_BY_ID, id)
}

/// Opens a map (`BPF_MAP_GET_FD_BY_ID`); ENOENT if there is none with this id. Needs
/// CAP_SYS_ADMIN.
pub fn map(id: u32) -> io::Result<OwnedFd> {
    by_id(bpf_cmd::BPF_MAP_GET_FD_BY_ID, id)
}

/// Returns what the kernel tells of a program (`BPF_OBJ_GET_INFO_BY_FD`).
pub fn program_info(program: BorrowedFd<'_>) -> io::Result<ProgramInfo> {
    let mut maps = [0_u32; MAX_MAPS as usize];
    // SAFETY: a plain struct of integers, for which zero is a value.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    info.nr_map_ids = MAX_MAPS;
    info.map_ids = maps.as_mut_ptr() as u64;
    ask(program, &mut info)?;
    let count = info.nr_map_ids.min(MAX_MAPS) as usize;
    Ok(ProgramInfo {
        name: text(&info.name),
        maps: maps[..count].to_vec(),
    })
}

/// Returns the id of a program.
pub fn program_id(program: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: as in `program_info`.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    ask(program, &mut info)?;
    Ok(info.id)
}

/// Returns the id of a map.
pub fn map_id(map: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(super::map_info(map)?.id)
}

/// Returns what the kernel tells of a map (`BPF_OBJ_GET_INFO_BY_FD`).
pub fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    let info = super::map_info(map)?;
    Ok(MapInfo {
        name: text(&info.name),
        map_type: info.type_,
        key_size: usize::try_from(info.key_size).map_err(io::Error::other)?,
    })
}

fn by_id(command: bpf_cmd, id: u32) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.__bindgen_anon_6.__bindgen_anon_1.prog_id = id;
    let fd = call(command, &mut attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Returns the text up to the first zero byte.
fn text(name: &[c_char]) -> String {
    let bytes: Vec<u8> = name.iter().map(|byte| byte.cast_unsigned()).collect();
    let text = CStr::from_bytes_until_nul(&bytes).unwrap_or_default();
    text.to_string_lossy().into_owned()
}
