// From text and JSON numbers to cells. A fast path takes only shapes it is certain of, and refuses
// only what every server version refuses; all else travels pending to the type's input function. So
// values and refusals are the server's own (test/oracle compares the two).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "decode/cells.h"
#include "decode/plan.h"

namespace ke::decode {

// How to read a number as a time.
enum class time_unit : std::uint8_t { s, ms, us, ns };
time_unit read_time_unit(std::string_view name); // of an option's value

// text: UTF-8, checked by the caller; what the type's input function would be given.
outcome text_to_cell(std::string_view text, const type_desc& type, conversion& c, cell& out);

// token: a number as JSON writes it. 1.0 and 1e3 are integers, times are counted from 1970.
outcome json_number_to_cell(std::string_view token, const type_desc& type, time_unit unit,
                            conversion& c, cell& out);

// Microseconds since 2000-01-01, as the cell of a timestamp or timestamptz.
outcome timestamp_to_cell(std::int64_t us, const type_desc& type, conversion& c, cell& out);

// --- the parts, each false where it is not certain ---

// [-]digits, at most 18 of them.
bool parse_short(std::string_view token, std::int64_t& n);

// A JSON number that is whole: 12, 12.0, 1.2e1. Out of range of 64 bits: too_big.
enum class whole : std::uint8_t { yes, fraction, too_big };
whole parse_whole(std::string_view token, std::int64_t& n);

// numeric's short binary form; [+-]digits[.digits], within the typmod without rounding.
bool numeric_to_cell(std::string_view text, std::int32_t typmod, arena& memory, cell& out);

bool parse_date(std::string_view text, std::int32_t& days);
bool parse_time(std::string_view text, std::int64_t& us);
// needs_zone: a time without a zone is not certain (it depends on the session).
bool parse_timestamp(std::string_view text, bool needs_zone, std::int64_t& us);
bool parse_uuid(std::string_view text, unsigned char (&uuid)[16]);
// yes, no, or what boolean's input refuses (-1): complete, never uncertain.
int parse_boolean(std::string_view text);

// A JSON number counted from 1970 in the unit, in microseconds since 2000; parts of a microsecond
// are cut off towards the past. False: beyond what a timestamp holds.
bool parse_epoch(std::string_view token, time_unit unit, std::int64_t& us);
// Appends 2026-11-21 10:00:00.000001, with +00 where zone is set, as the input functions take it.
void append_timestamp(std::string& out, std::int64_t us, bool zone);

} // namespace ke::decode
