//! Compare-and-set and compare-and-delete in one step, as Lua scripts about one key.

use std::sync::Arc;

use redis::{ErrorKind, Script, ServerErrorKind, cmd};

use super::breaker::Use;
use super::client::RedisClient;
use super::node::{CommandError, single};
use super::rights::Rights;
use crate::credentials::{CacheKey, MAX_RECORD};

/// Sets `v` to the value under the key as the store's `get` reads it: `false` for a missing key, and `''` for what
/// cannot be a record. A value of another type has no length, and a long one is not copied into the script.
macro_rules! value {
    () => {
        "local length = redis.pcall('STRLEN', KEYS[1]) \
         local v = '' \
         if type(length) == 'table' then \
             if not string.find(length.err, 'WRONGTYPE', 1, true) then return length end \
         elseif length <= tonumber(ARGV[1]) then v = redis.call('GET', KEYS[1]) end \
         if not v then return -1 end \
         if v ~= ARGV[2] then return 0 end "
    };
}

/// Compare-and-set. Arguments: length of the longest record, expected bytes, new bytes, their life in milliseconds. Answers
/// 1 for replaced, 0 for other bytes than expected, -1 for a missing key.
pub(super) const REPLACE: &str = concat!(value!(), "redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) return 1");
/// Compare-and-delete. Arguments: length of the longest record, expected bytes. The answers are those of [`REPLACE`].
pub(super) const REMOVE: &str = concat!(value!(), "redis.call('DEL', KEYS[1]) return 1");

/// Runs one of the scripts; `None` when the server does not permit scripts.
pub(super) async fn run(
    servers: &Arc<RedisClient>,
    rights: &Rights,
    code: &str,
    key: &CacheKey,
    args: &[&[u8]],
) -> Result<Option<i64>, CommandError> {
    if !rights.scripts() {
        return Ok(None);
    }
    let script = Script::new(code);
    let call = |name: &str, body: &str| {
        let mut command = cmd(name);
        command.arg(body).arg(1).arg(key.as_str()).arg(MAX_RECORD);
        for arg in args {
            command.arg(*arg);
        }
        single(command)
    };
    let mut answer = servers.run::<(i64,)>(Use::Write, key.as_str(), &call("EVALSHA", script.get_hash())).await;
    if let Err(CommandError::Refused(error)) = &answer
        && error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
    {
        answer = servers.run(Use::Write, key.as_str(), &call("EVAL", code)).await;
    }
    match answer {
        Ok((answer,)) => Ok(Some(answer)),
        Err(failed) if failed.is_lack_of_permission() => {
            rights.without_scripts();
            Ok(None)
        }
        Err(failed) => Err(failed),
    }
}
