// What one value costs from its text, by our conversion and by the server's own input function: a
// module that test/micro/conversions.py loads into a private server, since input functions run
// nowhere else. No part of the extension.
#include "pg/compat.h"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
}

#include <algorithm>
#include <chrono>
#include <cstring>
#include <span>

#include "base/arena.h"
#include "decode/scalars.h"
#include "decode/utf8.h"

extern "C" {
PG_MODULE_MAGIC;
}

using namespace ke;
using namespace ke::decode;

namespace {

constexpr std::size_t at_once = 250; // values between two resets of the memory, as in a batch
volatile std::uint64_t sink;         // so that no result is dropped unmade

// Plain data in the server's memory: it outlives an error of the server.
struct value_text {
    const char* text; // for the input function
    std::string_view ours;
};

cell_type cell_type_of(Oid type)
{
    switch (type) {
    case BOOLOID:
        return cell_type::boolean;
    case INT8OID:
        return cell_type::int8;
    case FLOAT8OID:
        return cell_type::float8;
    case NUMERICOID:
        return cell_type::numeric;
    case DATEOID:
        return cell_type::date;
    case TIMESTAMPOID:
        return cell_type::timestamp;
    case TIMESTAMPTZOID:
        return cell_type::timestamptz;
    case UUIDOID:
        return cell_type::uuid;
    case BYTEAOID:
        return cell_type::bytea;
    default:
        return cell_type::other;
    }
}

double ns_each(std::chrono::steady_clock::time_point begin, std::size_t values)
{
    const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - begin;
    return spent.count() / static_cast<double>(values);
}

// Our side. No server call while it lives, and none throws but for want of memory.
class our_conversion {
  public:
    explicit our_conversion(Oid type) { type_.type = cell_type_of(type); }

    outcome make(std::string_view text, cell& out)
    {
        if (type_.type != cell_type::bytea)
            return text_to_cell(text, type_, c_, out);
        bytes_.clear(); // as json's bytea_format 'hex'
        return decode_hex(text, bytes_) ? make_bytea(bytes_, c_, out) : outcome::refused;
    }
    void reset() { memory_.reset(); }

  private:
    type_desc type_;
    arena memory_;
    conversion c_{.memory = &memory_};
    std::string bytes_;
};

double ours(std::span<const value_text> texts, Oid type, int passes) noexcept
{
    our_conversion conversion(type);
    std::uint64_t sum = 0;
    const auto begin = std::chrono::steady_clock::now();
    for (int pass = 0; pass < passes; pass++) {
        for (std::size_t i = 0; i < texts.size(); i++) {
            if (i % at_once == 0)
                conversion.reset();
            cell out = 0;
            conversion.make(texts[i].ours, out);
            sum += out;
        }
    }
    const double ns = ns_each(begin, texts.size() * static_cast<std::size_t>(passes));
    sink = sum;
    return ns;
}

double theirs(std::span<const value_text> texts, FmgrInfo* input, Oid ioparam, int passes)
{
    const MemoryContext row =
        AllocSetContextCreate(CurrentMemoryContext, "micro", ALLOCSET_DEFAULT_SIZES);
    const MemoryContext before = MemoryContextSwitchTo(row);
    std::uint64_t sum = 0;
    const auto begin = std::chrono::steady_clock::now();
    for (int pass = 0; pass < passes; pass++) {
        CHECK_FOR_INTERRUPTS();
        for (std::size_t i = 0; i < texts.size(); i++) {
            if (i % at_once == 0)
                MemoryContextReset(row);
            sum += InputFunctionCall(input, const_cast<char*>(texts[i].text), ioparam, -1);
        }
    }
    const double ns = ns_each(begin, texts.size() * static_cast<std::size_t>(passes));
    sink = sum;
    MemoryContextSwitchTo(before);
    MemoryContextDelete(row);
    return ns;
}

// One value of ours, copied to where the server may look at it. False: not by the fast path.
bool our_value(std::string_view text, Oid type, int16 length, char* buffer, std::size_t room,
               Datum& out) noexcept
{
    our_conversion conversion(type);
    cell made = 0;
    if (conversion.make(text, made) != outcome::value)
        return false;
    out = made;
    if (length > 0 && length <= 8)
        return true;
    const char* p = DatumGetPointer(made);
    const std::size_t size = length > 0 ? static_cast<std::size_t>(length) : VARSIZE_ANY(p);
    if (size > room)
        return false;
    std::memcpy(buffer, p, size);
    out = PointerGetDatum(buffer);
    return true;
}

// Figures of two conversions that differ, or of a slow path of ours, would say nothing.
void check_same(const value_text& v, Oid type, FmgrInfo* input, Oid ioparam)
{
    alignas(8) char buffer[1000];
    int16 length;
    bool by_value;
    Datum found;
    get_typlenbyval(type, &length, &by_value);
    if (!our_value(v.ours, type, length, buffer, sizeof buffer, found) ||
        !datum_image_eq(found, InputFunctionCall(input, const_cast<char*>(v.text), ioparam, -1),
                        by_value, length))
        elog(ERROR, "our conversion does not make what the server makes of \"%s\" (%s)", v.text,
             format_type_be(type));
}

} // namespace

// micro_conversion(type regtype, texts text[], passes int) returns float8[]: nanoseconds per value,
// ours and theirs, the least of five turns of so many passes.
KE_FUNCTION(micro_conversion)
{
    const Oid type = PG_GETARG_OID(0);
    Datum* elements;
    bool* nulls;
    int count;
    deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls,
                      &count);
    auto* texts = static_cast<value_text*>(palloc0(static_cast<Size>(count) * sizeof(value_text)));
    Oid input, ioparam;
    FmgrInfo function;
    getTypeInputInfo(type, &input, &ioparam);
    fmgr_info(input, &function);
    for (int i = 0; i < count; i++) {
        const char* s = TextDatumGetCString(elements[i]);
        texts[i] = {s, s + (type == BYTEAOID ? 2 : 0)}; // ours are without \x
        check_same(texts[i], type, &function, ioparam);
    }
    const std::span<const value_text> all(texts, static_cast<std::size_t>(count));
    double least[2] = {1e9, 1e9};
    for (int turn = 0; turn < 5; turn++) {
        least[0] = std::min(least[0], ours(all, type, PG_GETARG_INT32(2)));
        least[1] = std::min(least[1], theirs(all, &function, ioparam, PG_GETARG_INT32(2)));
    }
    Datum result[] = {Float8GetDatum(least[0]), Float8GetDatum(least[1])};
    PG_RETURN_ARRAYTYPE_P(
        construct_array(result, 2, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
