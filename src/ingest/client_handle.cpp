#include "ingest/client_handle.h"

#include <algorithm>

#include "base/no_backend.h"

namespace ke::ingest {

reader::~reader()
{
    if (runs)
        runs->halt();
}

bool reader::claims_any(const std::vector<topic_partition>& wanted) const
{
    return std::any_of(wanted.begin(), wanted.end(),
                       [&](const topic_partition& at) { return claims.contains(at); });
}

result<std::shared_ptr<client_core>> client_core::make(const properties& settings, bool brisk,
                                                       std::shared_ptr<doorbell> bell)
{
    auto made = kafka::client::make(settings, brisk);
    if (!made)
        return made.error();
    // A short reader's fetches do not wait long enough for a second connection to pay.
    auto asking = brisk ? made.value() : nullptr;
    if (!asking) {
        auto second = kafka::client::make(settings, brisk);
        if (!second)
            return second.error();
        asking = std::move(second.value());
        asking->tell(made.value());
    }
    auto core = std::make_shared<client_core>();
    core->settings = settings;
    core->brisk = brisk;
    core->bell = std::move(bell);
    core->client = made.value();
    core->control = std::make_unique<kafka::control>(made.value(), asking);
    core->asked = std::move(asking);
    core->readers.push_back(std::make_unique<reader>());
    core->readers.front()->client = std::move(made.value());
    return core;
}

result<reader*> client_core::reader_for(const std::vector<topic_partition>& wanted,
                                        const std::vector<reader*>& taken)
{
    reader* found = nullptr;
    for (const auto& r : readers)
        if (std::find(taken.begin(), taken.end(), r.get()) == taken.end() &&
            !r->claims_any(wanted)) {
            found = r.get();
            break;
        }
    std::unique_ptr<reader> fresh;
    if (found == nullptr) {
        auto made = kafka::client::make(settings, brisk);
        if (!made)
            return made.error();
        fresh = std::make_unique<reader>();
        fresh->client = std::move(made.value());
        asked->tell(fresh->client);
        found = fresh.get();
    }
    if (!found->runs) {
        auto number = static_cast<std::uint32_t>(fresh ? readers.size() : 0);
        auto started = lane::start(found->client, fresh != nullptr, number);
        if (!started)
            return started.error();
        found->runs = std::move(started.value());
    }
    if (fresh)
        readers.push_back(std::move(fresh));
    return found;
}

void client_core::release(reader* of, const std::vector<topic_partition>& claims) noexcept
{
    for (const topic_partition& at : claims)
        of->claims.erase(at);
    if (--of->feeds > 0)
        return;
    for (std::size_t i = 1; i < readers.size(); ++i)
        if (readers[i].get() == of) {
            readers.erase(readers.begin() + static_cast<std::ptrdiff_t>(i));
            return;
        }
}

void client_core::halt() noexcept
{
    control.reset();
    for (const auto& r : readers)
        if (r->runs)
            r->runs->halt();
    client.reset();
    asked.reset();
}

} // namespace ke::ingest
