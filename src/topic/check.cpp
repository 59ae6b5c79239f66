// kafka.check(server): whether its brokers can be reached with the caller's login, and what they
// say. Session's thread.
#include "pg/compat.h"

extern "C" {
#include "catalog/pg_type.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
}

#include "pg/errors.h"
#include "topic/ask.h"
#include "topic/rights.h"

namespace ke::topic {

namespace {

// Plain data in the current memory context.
struct check_answer {
    bool connected;
    pg::plain_fault why_not;
    const char* cluster_id;
    const char* librdkafka;
    const char** brokers; // "1 localhost:9092"
    int broker_count;
    std::int32_t controller;
    std::int64_t latency_us;
};

const char* keep(const std::string& s)
{
    return pg::call([&] { return static_cast<const char*>(pstrdup(s.c_str())); });
}

check_answer ask_brokers(Oid server)
{
    check_answer a{};
    try {
        const line l = open_line(CurrentMemoryContext, load_connection(server, GetUserId()));
        const ingest::broker_report report = await(l, l.hub->ask_brokers(l.client, l.timeout));
        a.connected = true;
        a.cluster_id = keep(report.cluster_id);
        a.librdkafka = keep(report.librdkafka_version);
        a.controller = report.controller;
        a.latency_us = report.latency_us;
        a.brokers = pg::call([&] {
            return static_cast<const char**>(palloc(sizeof(char*) * (report.brokers.size() + 1)));
        });
        for (const auto& b : report.brokers)
            a.brokers[a.broker_count++] =
                keep(std::to_string(b.id) + " " + b.host + ":" + std::to_string(b.port));
    } catch (const pg::fault_error& e) {
        a.why_not = pg::call([&] { return pg::to_plain(e.get()); });
    }
    return a;
}

} // namespace

} // namespace ke::topic

// (connected, reason, cluster_id, brokers, controller, latency_ms, librdkafka)
KE_FUNCTION(kafka_engine_check)
{
    using namespace ke;
    const Oid server = get_foreign_server_oid(NameStr(*PG_GETARG_NAME(0)), false);
    topic::require_usage(server);
    const topic::check_answer a = pg::entry([&] { return topic::ask_brokers(server); });
    InitMaterializedSRF(fcinfo, 0);
    auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
    Datum values[7] = {BoolGetDatum(a.connected)};
    bool nulls[7] = {false, true, true, true, true, true, true};
    auto set = [&](int i, Datum d) {
        values[i] = d;
        nulls[i] = false;
    };
    if (!a.connected) {
        const char* detail = a.why_not.detail;
        set(1, CStringGetTextDatum(detail ? psprintf("%s: %s", a.why_not.message, detail)
                                          : a.why_not.message));
    } else {
        Datum* brokers = static_cast<Datum*>(palloc(sizeof(Datum) * (a.broker_count + 1)));
        for (int i = 0; i < a.broker_count; ++i)
            brokers[i] = CStringGetTextDatum(a.brokers[i]);
        if (*a.cluster_id)
            set(2, CStringGetTextDatum(a.cluster_id));
        set(3, PointerGetDatum(
                   construct_array(brokers, a.broker_count, TEXTOID, -1, false, TYPALIGN_INT)));
        if (a.controller >= 0)
            set(4, Int32GetDatum(a.controller));
        set(5, Float8GetDatum(static_cast<double>(a.latency_us) / 1000));
        set(6, CStringGetTextDatum(a.librdkafka));
    }
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    return static_cast<Datum>(0);
}
