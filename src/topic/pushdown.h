// Conditions on _topic, _partition, _offset and _timestamp that narrow what a scan fetches.
//
//   planning:   simplify() keeps of a clause what can be pushed, as an ordinary expression: it goes
//               into the plan (copied, cached, shown by EXPLAIN), its parameters are the server's care.
//   execution:  compile() makes a tree of tests of it, evaluate() computes their values (at each
//               rescan anew), leaves() says which offsets of one partition remain.
//
// The one rule: what is left always contains every record for which the clause is true. What cannot
// be understood leaves everything; a NULL leaves nothing, since the clause is then never true. The
// executor checks every clause again.
//
// Server's thread. Conditions are plain data in a memory context; interval sets are C++ values, so
// that the functions that return them are called inside pg::entry() frames.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "executor/execdesc.h"
#include "nodes/execnodes.h"
#include "nodes/primnodes.h"
}

#include <string>
#include <utility>
#include <vector>

#include "base/intervals.h"
#include "decode/plan.h"

namespace ke::topic {

// Attributes of a topic table that carry what can be pushed; 0: the table has no such column.
struct pushed_columns {
    AttrNumber topic = 0;
    AttrNumber partition = 0;
    AttrNumber offset = 0;
    AttrNumber timestamp = 0;
};

// The part of the clause that can be pushed for range table entry rel; null: none.
Expr* simplify(Expr* clause, Index rel, const pushed_columns&);

enum class test_kind : std::uint8_t { all_of, any_of, test };

// As in btree operator classes, and "not equal".
enum class comparison : std::uint8_t {
    less = 1,
    less_equal,
    equal,
    greater_equal,
    greater,
    not_equal
};

struct test_value {
    bool null;
    std::int64_t number; // partition, offset; time in microseconds as the server counts them
    Datum topic;         // _topic: a text
};

struct condition {
    test_kind kind;
    int count; // all_of, any_of: children
    condition** children;

    // --- test: column (op) value, or column (op) ANY/ALL (array) ---
    decode::role what;
    comparison how;
    bool is_array;
    bool any;       // ANY, else ALL
    Oid value_type; // of the value or the array's elements
    Oid function;   // of the operator, column on the left: for _topic
    Oid collation;
    Expr* expression; // of the value
    ExprState* state;
    bool of_statement; // depends on a parameter given with the statement
    bool of_execution; // depends on one that the execution sets: an outer row, a subquery's result

    // Of the newest evaluate():
    bool known;      // false: leaves everything
    bool null_array; // ANY/ALL (NULL): never true
    int value_count;
    test_value* values;
};

// Expressions as simplify() left them, implicitly AND'ed; null where there are none. In the current
// memory context. parent may be null where no parameter's value is asked for (estimates).
condition* compile(List* expressions, const pushed_columns&, PlanState* parent);

// Which values can be computed: constants; with the statement's parameters; all.
enum class stage : std::uint8_t { planning, starting, running };

// Computes the tests' values, in memory, which is reset first.
void evaluate(condition*, stage, ExprContext*, MemoryContext memory);

// Whether values wait for the execution, so that a rescan may ask for other records.
bool has_late_values(const condition*);

// --- what a condition leaves ---

// Milliseconds since 1970 whose offsets leaves() wants to know, ascending: the broker's answer to each
// is the first offset at or after it. Until: of use only where times never go back.
struct time_points {
    std::vector<std::int64_t> from;
    std::vector<std::int64_t> until;
};
time_points times_asked(const condition*);

// Under LogAppendTime a partition's times ascend as well as its brokers' clocks agree. An upper bound
// in time is taken this much later, so that a leader whose clock is behind loses nothing.
inline constexpr std::int64_t clock_slack_ms = 10 * 60 * 1000;

// One partition, as a condition sees it.
struct partition_facts {
    const std::string* topic;
    std::int32_t partition;
    // Times and the first offset at or after each. Null, or a time not in it: everything is left.
    const std::vector<std::pair<std::int64_t, std::int64_t>>* times = nullptr;
    // LogAppendTime: an upper bound in time is one in offsets, with slack.
    bool times_ascend = false;
};
// The offset in `times` that says "no record is as new as that".
inline constexpr std::int64_t beyond_the_end = interval_set::highest;

interval_set leaves(const condition*, const partition_facts&);

// All values of one column (partition or offset) that some record could have: for EXPLAIN.
interval_set projection(const condition*, decode::role);

} // namespace ke::topic
