//! The slot of a key in a cluster, and the answer to `CLUSTER SLOTS`, which says which node owns which slots.

use redis::Value;

use super::address::Address;

/// The number of slots, the same in every cluster.
pub(super) const SLOTS: usize = 16384;

/// CRC16 (XMODEM) of the key. elastauth's keys have no `{`, so the rule about hash tags does not matter.
pub(super) fn of(key: &str) -> usize {
    let crc = key.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 })
    });
    usize::from(crc) % SLOTS
}

/// Consecutive slots and the nodes that serve them, the owner first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) nodes: Vec<Address>,
}

/// Reads the answer to `CLUSTER SLOTS`; `asked` is the node that gave it.
pub(super) fn read(answer: Value, asked: &Address) -> Option<Vec<Range>> {
    let Value::Array(ranges) = answer else { return None };
    ranges.into_iter().map(|range| read_range(range, asked)).collect()
}

fn read_range(range: Value, asked: &Address) -> Option<Range> {
    let Value::Array(fields) = range else { return None };
    let mut fields = fields.into_iter();
    let mut slot = || match fields.next() {
        Some(Value::Int(slot)) => usize::try_from(slot).ok().filter(|slot| *slot < SLOTS),
        _ => None,
    };
    let (first, last) = (slot()?, slot()?);
    // a node without a known address is left out; if that is the owner, the slots have none
    let mut nodes = fields.map(|node| read_node(node, asked));
    let owner = nodes.next()?;
    let nodes = owner.map(|owner| std::iter::once(owner).chain(nodes.flatten()).collect()).unwrap_or_default();
    Some(Range { first, last, nodes })
}

fn read_node(node: Value, asked: &Address) -> Option<Address> {
    let Value::Array(fields) = node else { return None };
    let mut fields = fields.into_iter();
    let (host, port) = (fields.next()?, fields.next()?);
    let Value::Int(port) = port else { return None };
    let host: Option<String> = redis::from_redis_value(host).ok()?;
    Address::announced(host.as_deref().unwrap_or_default(), u16::try_from(port).ok()?, asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // CLUSTER KEYSLOT of Redis 7.0
        for (key, slot) in [("", 0), ("foo", 12182), ("bar", 5061), ("123456789", 12739), ("elastauth-YW5u", 5237)] {
            assert_eq!(of(key), slot, "{key}");
        }
    }

    #[test]
    fn nodes_without_a_host_are_where_the_answer_came_from_and_unknown_ones_are_left_out() {
        let text = |text: &str| Value::BulkString(text.into());
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), text("id"), Value::Array(vec![])]);
        let range =
            |first, last, nodes: Vec<Value>| Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat());
        let asked = Address::parse("here:1").unwrap();
        let answer = Value::Array(vec![
            range(0, 5, vec![node(Value::Nil, 7000), node(text("10.0.0.2"), 7001), node(text("?"), 7002)]),
            range(6, 16383, vec![node(text(""), 7003)]),
        ]);
        let ranges = read(answer, &asked).unwrap();
        let shown: Vec<_> = ranges
            .iter()
            .map(|r| (r.first, r.last, format!("{:?}", r.nodes.iter().map(ToString::to_string).collect::<Vec<_>>())))
            .collect();
        assert_eq!(
            shown,
            [(0, 5, r#"["here:7000", "10.0.0.2:7001"]"#.to_owned()), (6, 16383, r#"["here:7003"]"#.to_owned())]
        );
        let lost = Value::Array(vec![range(0, 5, vec![node(text("?"), 7000), node(text("replica"), 7001)])]);
        assert!(read(lost, &asked).unwrap()[0].nodes.is_empty(), "a replica is no owner");
        for wrong in [Value::Nil, Value::Array(vec![Value::Nil]), Value::Array(vec![range(0, 16384, vec![])])] {
            assert_eq!(read(wrong, &asked), None);
        }
    }
}
