//! Compare-and-set and compare-and-delete in one step, as scripts about one key.

use redis::{ErrorKind, Script, ServerErrorKind, cmd};

use super::node::CommandError;
use super::{RedisStore, one};
use crate::credentials::{CacheKey, MAX_RECORD, StoreError};

/// Leaves in `v` what stands under the key as [`super::RedisStore::get`] reads it: `false` for nothing, and `''` for what
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

/// Takes the longest record, the expected bytes, the new ones and their life; answers 1 replaced, 0 other bytes, -1 nothing
/// there.
pub(super) const REPLACE: &str = concat!(value!(), "redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) return 1");
/// Takes the longest record and the expected bytes; answers as the other one does.
pub(super) const REMOVE: &str = concat!(value!(), "redis.call('DEL', KEYS[1]) return 1");

impl RedisStore {
    /// Runs one of them; `None` when the server does not let us.
    pub(super) async fn script(&self, code: &str, key: &CacheKey, args: &[&[u8]]) -> Result<Option<i64>, StoreError> {
        if !self.rights.scripts() {
            return Ok(None);
        }
        let script = Script::new(code);
        let call = |name: &str, body: &str| {
            let mut command = cmd(name);
            command.arg(body).arg(1).arg(key.as_str()).arg(MAX_RECORD);
            for arg in args {
                command.arg(*arg);
            }
            one(command)
        };
        let mut answer = self.servers.run::<(i64,)>(key.as_str(), &call("EVALSHA", script.get_hash())).await;
        if let Err(CommandError::Refused(error)) = &answer
            && error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
        {
            answer = self.servers.run(key.as_str(), &call("EVAL", code)).await;
        }
        match answer {
            Ok((answer,)) => Ok(Some(answer)),
            Err(failed) if failed.is_lack_of_permission() => {
                self.rights.without_scripts();
                Ok(None)
            }
            Err(failed) => Err(self.not_written(failed)),
        }
    }
}
