// kafka.state: the state of an aggregate as bytes, with a head that says whose it is. Made by the
// functions of partial.cpp alone. Server's thread; plain data in the memory context that is current.
#pragma once

#include "pg/compat.h"

#include <cstdint>

extern "C" {
#include "catalog/pg_aggregate.h"
}

namespace ke::stream {

// An aggregate as its states are handled: looked up once per query.
struct aggregate_facts {
    Oid aggregate;
    Oid state_type; // of its transition function
    std::int16_t length;
    bool by_value;
    bool internal;           // states pass through serialise and deserialise
    std::uint64_t signature; // of name, arguments and state type
    bool initial_null;
    Datum initial; // of state_type, in the memory context of the look-up
    FmgrInfo transition, combine, final, serialise, deserialise, send,
        receive; // fn_oid may be invalid
    Oid receive_parameter;
    int final_arguments; // of final, the state among them
    int arguments;       // of transition, the state among them
};

// Raises where the aggregate is none whose states can be kept. In the context given.
aggregate_facts* look_up_aggregate(Oid aggregate, MemoryContext);

// A state and back. The caller's fcinfo->context is an AggState, or stands for one (aggregate_frame).
bytea* pack_state(const aggregate_facts*, Datum value, bool null, Node* context);
Datum unpack_state(const aggregate_facts*, const struct varlena*, Node* context, bool* null);

// A function of the aggregate, called as the server's own aggregation calls it.
Datum call_as_aggregate(const FmgrInfo*, Node* context, Oid collation, int count,
                        const NullableDatum* arguments, bool* null);

} // namespace ke::stream
