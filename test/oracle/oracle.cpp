// A server module for tests only: our conversions against the server's own input functions, on
// random inputs. For each input, what we call certain must be the server's value, and what we
// refuse the server must refuse with the same SQLSTATE and words; what we leave to the server needs
// no look.
//
//   oracle_compare(subject text, inputs bigint, seed bigint)
//     -> values, refusals, left, mismatches, sample
extern "C" {
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;
}

#include <cstring>
#include <memory>

#include "decode/decoder.h"
#include "decode/json_values.h"
#include "decode/scalars.h"
#include "decode/utf8.h"
#include "inputs.h"

namespace ke::oracle {

using namespace decode;

namespace {

// What is compared: a text in a type, a JSON number in a type, or documents.
enum class way { text, json_whole, json_epoch, document };

struct subject {
    const char* name;
    way how;
    look kind;
    cell_type cell;
    Oid type;
    int typmod;
};

constexpr int numeric_10_3 = ((10 << 16) | 3) + VARHDRSZ;

const subject subjects[] = {
    {"boolean", way::text, look::boolean, cell_type::boolean, BOOLOID, -1},
    {"smallint", way::text, look::integer, cell_type::int2, INT2OID, -1},
    {"integer", way::text, look::integer, cell_type::int4, INT4OID, -1},
    {"bigint", way::text, look::integer, cell_type::int8, INT8OID, -1},
    {"real", way::text, look::floating, cell_type::float4, FLOAT4OID, -1},
    {"double precision", way::text, look::floating, cell_type::float8, FLOAT8OID, -1},
    {"numeric", way::text, look::decimal, cell_type::numeric, NUMERICOID, -1},
    {"numeric(10,3)", way::text, look::decimal, cell_type::numeric, NUMERICOID, numeric_10_3},
    {"text", way::text, look::words, cell_type::text, TEXTOID, -1},
    {"varchar(5)", way::text, look::words, cell_type::varchar, VARCHAROID, 5 + VARHDRSZ},
    {"char(5)", way::text, look::words, cell_type::bpchar, BPCHAROID, 5 + VARHDRSZ},
    {"date", way::text, look::date, cell_type::date, DATEOID, -1},
    {"time", way::text, look::time, cell_type::time, TIMEOID, -1},
    {"timestamp", way::text, look::timestamp, cell_type::timestamp, TIMESTAMPOID, -1},
    {"timestamp(3)", way::text, look::timestamp, cell_type::timestamp, TIMESTAMPOID, 3},
    {"timestamptz", way::text, look::timestamp, cell_type::timestamptz, TIMESTAMPTZOID, -1},
    {"uuid", way::text, look::uuid, cell_type::uuid, UUIDOID, -1},
    {"json number in smallint", way::json_whole, look::json_number, cell_type::int2, INT2OID, -1},
    {"json number in bigint", way::json_whole, look::json_number, cell_type::int8, INT8OID, -1},
    {"json number in numeric", way::text, look::json_number, cell_type::numeric, NUMERICOID, -1},
    {"json number in timestamptz", way::json_epoch, look::json_number, cell_type::timestamptz,
     TIMESTAMPTZOID, -1},
    {"json document", way::document, look::json_document, cell_type::json, JSONOID, -1},
};

// What the server says to a text. Nothing with a destructor is alive while it runs.
struct answer {
    bool refused;
    bool null;
    Datum value;
    int sqlstate;
    char message[512];
};

using question = Datum (*)(void* arg, bool* null);

answer ask(question q, void* arg)
{
    answer a = {};
    MemoryContext context = CurrentMemoryContext;
    PG_TRY();
    {
        a.value = q(arg, &a.null);
    }
    PG_CATCH();
    {
        MemoryContextSwitchTo(context);
        ErrorData* e = CopyErrorData();
        FlushErrorState();
        a.refused = true;
        a.sqlstate = e->sqlerrcode;
        strlcpy(a.message, e->message, sizeof a.message);
    }
    PG_END_TRY();
    return a;
}

// The input function of a type, looked up once.
struct type_input {
    FmgrInfo function;
    Oid ioparam;
    int typmod;
    char* text;
};

Datum ask_type(void* arg, bool*)
{
    auto* t = static_cast<type_input*>(arg);
    return InputFunctionCall(&t->function, t->text, t->ioparam, t->typmod);
}

type_input input_of(Oid type, int typmod)
{
    type_input t = {};
    Oid function;
    getTypeInputInfo(type, &function, &t.ioparam);
    fmgr_info(function, &t.function);
    t.typmod = typmod;
    return t;
}

Datum numeric_of(const char* text)
{
    return DirectFunctionCall3(numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid),
                               Int32GetDatum(-1));
}

// A JSON number as a whole one, by numeric: refused where it has a fraction.
struct whole_question {
    const char* text;
    cell_type type;
};
Datum ask_whole(void* arg, bool*)
{
    auto* q = static_cast<whole_question*>(arg);
    const Datum n = numeric_of(q->text);
    const Datum t = DirectFunctionCall2(numeric_trunc, n, Int32GetDatum(0));
    if (!DatumGetBool(DirectFunctionCall2(numeric_eq, n, t)))
        ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
                        errmsg("invalid input syntax for type %s: \"%s\"",
                               q->type == cell_type::int2 ? "smallint" : "bigint", q->text)));
    // The server's words for a numeric that does not fit are others than for a text.
    const Datum value = DirectFunctionCall1(numeric_int8, n);
    return q->type == cell_type::int2
               ? Int16GetDatum(DatumGetInt16(DirectFunctionCall1(int82, value)))
               : value;
}

// Milliseconds since 1970, cut to microseconds, by numeric; refused outside of a timestamp's range.
Datum ask_epoch(void* arg, bool*)
{
    const Datum thousand = numeric_of("1000");
    const Datum us = DirectFunctionCall1(
        numeric_floor,
        DirectFunctionCall2(numeric_mul, numeric_of(static_cast<const char*>(arg)), thousand));
    const Datum since_2000 = DirectFunctionCall2(numeric_sub, us, numeric_of("946684800000000"));
    const bool low = DatumGetBool(
        DirectFunctionCall2(numeric_lt, since_2000, numeric_of("-211813488000000000")));
    const bool high = DatumGetBool(
        DirectFunctionCall2(numeric_ge, since_2000, numeric_of("9223371331200000000")));
    if (low || high)
        ereport(ERROR,
                (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
    return DirectFunctionCall1(numeric_int8, since_2000);
}

// Whether the server takes the text for JSON.
Datum ask_json(void* arg, bool*)
{
    return DirectFunctionCall1(json_in, CStringGetDatum(static_cast<char*>(arg)));
}

// A document's member a as text, by ->>.
Datum ask_member(void* arg, bool* null)
{
    LOCAL_FCINFO(call, 2);
    InitFunctionCallInfoData(*call, nullptr, 2, InvalidOid, nullptr, nullptr);
    call->args[0].value = ask_json(arg, null);
    call->args[0].isnull = false;
    call->args[1].value = CStringGetTextDatum("a");
    call->args[1].isnull = false;
    const Datum value = json_object_field_text(call);
    *null = call->isnull;
    return value;
}

struct score {
    int64 values, refusals, left, mismatches;
    std::string sample;
};

struct ours {
    outcome result;
    cell value;
    std::string sqlstate, reason;
};

void miss(score& s, std::string_view input, const char* what, const ours& o, const answer& a)
{
    if (s.mismatches++ >= 5)
        return;
    s.sample += std::string(what) + " for [" + std::string(input) + "]";
    if (o.result == outcome::refused)
        s.sample += " ours: " + o.sqlstate + " " + o.reason;
    if (a.refused)
        s.sample += std::string(" server's: ") + unpack_sql_state(a.sqlstate) + " " + a.message;
    s.sample += "\n";
}

bool same_value(const subject& s, cell ours, Datum theirs)
{
    int16 length;
    bool by_value;
    get_typlenbyval(s.type, &length, &by_value);
    return datumIsEqual(static_cast<Datum>(ours), theirs, by_value, length);
}

// words: whether the server's message must be ours too.
void judge(score& s, const subject& sub, std::string_view input, const ours& o, const answer& a,
           bool words)
{
    if (o.result == outcome::refused) {
        s.refusals++;
        if (!a.refused)
            miss(s, input, "refused what the server takes", o, a);
        else if (o.sqlstate != unpack_sql_state(a.sqlstate))
            miss(s, input, "another sqlstate", o, a);
        else if (words && o.reason.find("...\"") == o.reason.npos && o.reason != a.message)
            miss(s, input, "other words", o, a);
        return;
    }
    s.values++;
    if (a.refused)
        miss(s, input, "took what the server refuses", o, a);
    else if (a.null != (o.result == outcome::null))
        miss(s, input, "another null", o, a);
    else if (!a.null && !same_value(sub, o.value, a.value))
        miss(s, input, "another value", o, a);
}

void compare_one(score& s, const subject& sub, type_input& server, conversion& c,
                 const type_desc& type, std::string& input)
{
    ours o = {};
    if (!is_utf8(input))
        return; // the callers of text_to_cell have seen to that
    if (sub.how == way::text)
        o.result = text_to_cell(input, type, c, o.value);
    else if (is_json_literal(input) && input != "null" && input != "true" && input != "false")
        o.result = json_number_to_cell(input, type, time_unit::ms, c, o.value);
    else
        return;
    if (o.result == outcome::pending) {
        s.left++;
        return;
    }
    o.sqlstate = c.why.sqlstate;
    o.reason = c.why.reason;
    answer a;
    if (sub.how == way::text) {
        server.text = input.data();
        a = ask(ask_type, &server);
    } else if (sub.how == way::json_whole) {
        whole_question q{input.data(), sub.cell};
        a = ask(ask_whole, &q);
    } else {
        a = ask(ask_epoch, input.data());
    }
    if (a.refused && strcmp(a.message, "value overflows numeric format") == 0)
        return; // too big for the way by which we ask
    judge(s, sub, input, o, a, sub.how == way::text);
}

// A document in a table of one text column a: as the server sees its member, and its form.
void compare_document(score& s, record_decoder& decoder, rows& made, std::string& input)
{
    const std::size_t start = input.find_first_not_of(" \n\t\r");
    if (start == input.npos || input[start] != '{')
        return; // several rows, no rows, or none at all by our own rules
    made.reset();
    record r;
    r.value = bytes(input);
    decoder.decode(r, made);
    if (made.row_count() > 1)
        return; // several documents: not the server's idea of one
    ours o = {};
    if (!made.rejects.empty()) {
        o.result = outcome::refused;
        o.sqlstate = made.rejects[0].sqlstate;
        o.reason =
            std::string(made.rejects[0].reason) + " / " + std::string(made.rejects[0].detail);
    } else {
        o.result = static_cast<outcome>(made.states(0)[0]);
        o.value = made.cells(0)[0];
    }
    if (!is_utf8(input)) {
        if (o.result != outcome::refused)
            miss(s, input, "took what is not UTF-8", o, {});
        return;
    }
    answer a = ask(ask_json, input.data());
    if (a.refused && o.result == outcome::refused) {
        s.refusals++; // perhaps for another of its faults
        return;
    }
    if (!a.refused && (input.find("\\u0000") != input.npos || input.find("\\ud") != input.npos)) {
        // ->> refuses these escapes wherever they are; we where a column wants the text.
        if (o.result == outcome::refused && o.sqlstate != "22P05" &&
            o.reason.find("surrogate") == o.reason.npos)
            miss(s, input, "refused what the server takes", o, a);
        return;
    }
    if (!a.refused)
        a = ask(ask_member, input.data());
    static const subject text = {"", way::document, look::words, cell_type::text, TEXTOID, -1};
    judge(s, text, input, o, a, false);
}

std::unique_ptr<record_decoder> document_decoder()
{
    auto plan = std::make_shared<row_plan>();
    plan->format = "json";
    plan->columns.resize(1);
    plan->columns[0].name = "a";
    plan->columns[0].type.type = cell_type::text;
    plan->payload_columns = 1;
    plan->payload_needed = true;
    return std::move(record_decoder::make(plan).value());
}

score compare(const subject& sub, int64 inputs, int64 seed)
{
    score s = {};
    random_source random(static_cast<std::uint64_t>(seed));
    type_desc type;
    type.type = sub.cell;
    type.typmod = sub.typmod;
    arena memory;
    conversion c;
    c.memory = &memory;
    auto decoder = document_decoder();
    rows made(1);
    type_input server = input_of(sub.type, sub.typmod);
    MemoryContext scratch =
        AllocSetContextCreate(CurrentMemoryContext, "oracle", ALLOCSET_DEFAULT_SIZES);
    MemoryContext old = MemoryContextSwitchTo(scratch);
    for (int64 i = 0; i < inputs && s.mismatches < 100 && !QueryCancelPending && !ProcDiePending;
         i++) {
        std::string input = make_input(sub.kind, random);
        if (sub.how == way::document)
            compare_document(s, *decoder, made, input);
        else
            compare_one(s, sub, server, c, type, input);
        if (i % 64 == 0) {
            MemoryContextReset(scratch);
            memory.reset();
        }
    }
    MemoryContextSwitchTo(old);
    return s;
}

const subject* find_subject(const char* name)
{
    for (const subject& s : subjects)
        if (strcmp(s.name, name) == 0)
            return &s;
    return nullptr;
}

// Plain data for the result row; the sample palloc'd.
struct plain_score {
    int64 numbers[4];
    char* sample;
};

plain_score compare_plain(const subject& sub, int64 inputs, int64 seed)
{
    const score s = compare(sub, inputs, seed);
    return {{s.values, s.refusals, s.left, s.mismatches}, pstrdup(s.sample.c_str())};
}

} // namespace

} // namespace ke::oracle

extern "C" {

PG_FUNCTION_INFO_V1(oracle_compare);
PG_FUNCTION_INFO_V1(oracle_subjects);

Datum oracle_compare(PG_FUNCTION_ARGS)
{
    using namespace ke::oracle;
    char* name = text_to_cstring(PG_GETARG_TEXT_PP(0));
    const subject* sub = find_subject(name);
    if (!sub)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown subject \"%s\"", name)));
    const plain_score s = compare_plain(*sub, PG_GETARG_INT64(1), PG_GETARG_INT64(2));
    CHECK_FOR_INTERRUPTS();
    TupleDesc tuple;
    get_call_result_type(fcinfo, nullptr, &tuple);
    Datum values[5];
    bool nulls[5] = {};
    for (int i = 0; i < 4; i++)
        values[i] = Int64GetDatum(s.numbers[i]);
    values[4] = CStringGetTextDatum(s.sample);
    PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tuple), values, nulls)));
}

// The names of all subjects, as an array of text.
Datum oracle_subjects(PG_FUNCTION_ARGS)
{
    using namespace ke::oracle;
    constexpr int n = sizeof subjects / sizeof *subjects;
    Datum names[n];
    for (int i = 0; i < n; i++)
        names[i] = CStringGetTextDatum(subjects[i].name);
    PG_RETURN_ARRAYTYPE_P(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
}
}
