//! The local account that every credential maps to.

#![forbid(unsafe_code)]

use std::ffi::OsString;

/// An entry of `/etc/passwd` with its groups.
pub struct Account {
    /// Its name.
    pub name: OsString,
    /// Its home directory, which need not exist.
    pub home: OsString,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups, the primary one first.
    pub groups: Vec<u32>,
}

impl Account {
    /// Looks the name up. Root is no account to map to.
    pub fn find(name: &str) -> Result<Self, String> {
        let passwd = std::fs::read_to_string("/etc/passwd").map_err(|why| format!("/etc/passwd: {why}"))?;
        let fields = entry(&passwd, name).ok_or_else(|| format!("no account {name}"))?;
        let number = |index: usize| fields.get(index).and_then(|text| text.parse().ok());
        let (Some(uid), Some(gid)) = (number(2), number(3)) else { return Err(format!("odd account {name}")) };
        if uid == 0 || gid == 0 {
            return Err(format!("{name} is root"));
        }
        let group = std::fs::read_to_string("/etc/group").map_err(|why| format!("/etc/group: {why}"))?;
        let further = group.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let member = fields.get(3)?.split(',').any(|member| member == name);
            member.then(|| fields.get(2)?.parse().ok()).flatten()
        });
        Ok(Account {
            name: name.into(),
            home: fields.get(5).copied().unwrap_or("/").into(),
            uid,
            gid,
            groups: std::iter::once(gid).chain(further).collect(),
        })
    }
}

fn entry<'a>(passwd: &'a str, name: &str) -> Option<Vec<&'a str>> {
    passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.first() == Some(&name))
}
