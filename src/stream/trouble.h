// What went wrong while a view was served, and what to do about it. Errors are judged by SQLSTATE
// and by where they were raised; the table is in trouble.cpp.
#pragma once

#include "pg/compat.h"

#include <chrono>
#include <string>

#include "base/result.h"

namespace ke::stream {

enum class remedy : std::uint8_t {
    give_way, // somebody wants a lock of ours, or cancelled us: again at once
    slow,     // held up other views (patience.h): alone, with fewer records, after a while
    retry,    // passes by itself: again after a while
    rights,   // the owner may not: again after a while, until granted
    schema,   // needs a person: the view stops
    record,   // a record's fault, or may be: find it
};

struct trouble {
    int sqlstate = 0; // encoded
    remedy what = remedy::retry;
    std::chrono::milliseconds took{}; // slow: of the worker's time
    std::string message, detail, hint, column, constraint;

    std::string code() const; // '22P02'
};

// For kafka.views: what happened and why; with the SQLSTATE and what to do, for the column error.
std::string in_words(const trouble&);
std::string in_full(const trouble&);

// As raised by our own work or before any record was fetched: never a record's fault.
trouble describe(const ErrorData*);
trouble describe(const fault&);

// As raised while records were being applied.
trouble describe_applied(const ErrorData*);

// Class 42: what every record would meet, unless it was raised for one alone.
bool looks_like_schema(const trouble&);

} // namespace ke::stream
