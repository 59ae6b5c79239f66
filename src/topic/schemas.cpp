#include "topic/schemas.h"

#include <atomic>
#include <memory>

#include "base/doorbell.h"
#include "pg/errors.h"
#include "pg/guard.h"
#include "pg/wait.h"
#include "registry/client.h"

namespace ke::topic {

namespace {

// A registry that is in trouble says so long before; this is for one that keeps promising.
constexpr auto most_wait = std::chrono::minutes(10);

struct session final : registry::listener {
    doorbell bell;
    void call() noexcept override { bell.ring(); }
};

} // namespace

template <class F>
static void await(const F& prepare)
{
    std::shared_ptr<const fault> trouble;
    if (prepare(std::shared_ptr<session>(), trouble)) // there, and no bell is made
        return;
    auto me = std::make_shared<session>();
    const bool there = trouble || pg::wait_until(me->bell, most_wait,
                                                 [&] { return prepare(me, trouble) || trouble; });
    if (trouble)
        throw pg::fault_error(*trouble);
    if (!there)
        throw pg::fault_error({.kind = fault_kind::registry_unreachable,
                               .message = "the schema registry did not answer in time"});
}

void await_schemas(decode::record_decoder& decoder, const decode::record& r)
{
    if (decoder.may_wait())
        await([&](const auto& me, auto& trouble) { return decoder.prepare(r, me, trouble); });
}

void await_schemas(decode::payload_encoder& encoder)
{
    await([&](const auto& me, auto& trouble) { return encoder.prepare(me, trouble); });
}

} // namespace ke::topic
