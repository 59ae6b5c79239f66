#include "ingest/hub.h"

#include <algorithm>
#include <new>

#include "ingest/client_handle.h"
#include "ingest/feed_impl.h"
#include "ingest/ticket.h"
#include "base/living.h"
#include "kafka/metadata.h"
#include "kafka/offsets.h"

#include "base/no_backend.h"

namespace ke::ingest {

template class ticket<layout>;
template class ticket<std::vector<watermarks>>;
template class ticket<std::vector<bool>>;
template class ticket<std::vector<resolved_offset>>;
template class ticket<broker_report>;
template class ticket<done>;

namespace {

fault no_memory() noexcept
{
    return {.kind = fault_kind::out_of_memory, .message = "out of memory"};
}

class hub_impl final : public hub {
  public:
    explicit hub_impl(bool brisk) : brisk_(brisk), bell_(std::make_shared<doorbell>()) {}
    ~hub_impl() override
    {
        for (const auto& c : clients_)
            c->core->halt();
    }

    doorbell& bell() noexcept override { return *bell_; }

    result<client_handle*> client(const properties& wanted) noexcept override
    try {
        for (const auto& c : clients_)
            if (c->core->settings == wanted)
                return c.get();
        auto made = client_core::make(wanted, brisk_, bell_);
        if (!made)
            return made.error();
        clients_.push_back(std::make_unique<client_handle>(std::move(made.value())));
        return clients_.back().get();
    } catch (...) {
        return no_memory();
    }

    void forget(client_handle* gone) noexcept override
    {
        // Feeds that are left hold what they need.
        std::erase_if(clients_, [&](const auto& c) { return c.get() == gone; });
    }

    ticket<layout> ask_layout(client_handle* h, std::vector<std::string> topics,
                              duration timeout) noexcept override
    {
        return enqueue<layout>(h, timeout, [&](const auto& shared) {
            auto queue = h->core->layouts;
            kafka::control::question q{.run = {}, .give_up = [shared, queue](fault f) {
                                           queue->forget();
                                           shared->give(std::move(f));
                                       }};
            if (queue->add({std::move(topics), shared, kafka::clock::now() + timeout}))
                q.run = [queue](auto& c, auto& p) { return queue->answer(c, p); };
            return q;
        });
    }

    ticket<layout> ask_matching(client_handle* h, std::string pattern,
                                duration timeout) noexcept override
    {
        return ask<layout>(h, timeout, [pattern = std::move(pattern)](auto& c, auto& p) {
            return kafka::find_matching(c, pattern, p);
        });
    }

    ticket<std::vector<watermarks>> ask_watermarks(client_handle* h,
                                                   std::vector<topic_partition> of,
                                                   duration timeout) noexcept override
    {
        return ask<std::vector<watermarks>>(h, timeout, [of = std::move(of)](auto& c, auto& p) {
            return kafka::find_watermarks(c, of, p);
        });
    }

    ticket<std::vector<resolved_offset>>
    ask_times(client_handle* h, std::vector<std::pair<topic_partition, std::int64_t>> of,
              duration timeout) noexcept override
    {
        return ask<std::vector<resolved_offset>>(
            h, timeout,
            [of = std::move(of)](auto& c, auto& p) { return kafka::find_times(c, of, p); });
    }

    ticket<std::vector<bool>> ask_append_time(client_handle* h, std::vector<std::string> topics,
                                              duration timeout) noexcept override
    {
        return ask<std::vector<bool>>(h, timeout, [topics = std::move(topics)](auto& c, auto& p) {
            return kafka::find_append_time(c, topics, p);
        });
    }

    ticket<std::vector<resolved_offset>> ask_group(client_handle* h, std::string group,
                                                   std::vector<topic_partition> of,
                                                   duration timeout) noexcept override
    {
        return ask<std::vector<resolved_offset>>(
            h, timeout, [group = std::move(group), of = std::move(of)](auto& c, auto& p) {
                return kafka::find_group(c, group, of, p);
            });
    }

    ticket<done> mirror(client_handle* h, std::string group,
                        std::vector<std::pair<topic_partition, message_offset>> of,
                        duration timeout) noexcept override
    {
        return ask<done>(h, timeout,
                         [group = std::move(group), of = std::move(of)](auto& c, auto& p) {
                             return kafka::store_group(c, group, of, p);
                         });
    }

    ticket<broker_report> ask_brokers(client_handle* h, duration timeout) noexcept override
    {
        return ask<broker_report>(h, timeout,
                                  [](auto& c, auto& p) { return kafka::find_brokers(c, p); });
    }

    std::string statistics(client_handle* h) noexcept override
    try {
        return h->core->client->statistics();
    } catch (...) {
        return {};
    }

    std::optional<fault> complaint(client_handle* h) noexcept override
    try {
        return h->core->client->complaint();
    } catch (...) {
        return no_memory();
    }

    std::string held_back_by(client_handle* h) noexcept override
    try {
        return h->core->client->held_back_by();
    } catch (...) {
        return {};
    }

    std::vector<std::string> take_log(client_handle* h) noexcept override
    try {
        std::vector<std::string> lines = h->core->client->take_log();
        if (h->core->asked != h->core->client)
            for (std::string& line : h->core->asked->take_log())
                lines.push_back(std::move(line));
        return lines;
    } catch (...) {
        return {};
    }

    result<std::unique_ptr<feed>> open_feed(client_handle* h, feed_spec spec) noexcept override
    try {
        return feed_impl::open(h->core, std::move(spec));
    } catch (...) {
        return no_memory();
    }

    result<std::unique_ptr<producer>> open_producer(const properties& wanted) noexcept override
    {
        return kafka::make_producer(wanted, bell_);
    }

  private:
    // question_for: given what the ticket shares.
    template <class T, class F>
    ticket<T> enqueue(client_handle* h, duration timeout, F question_for) noexcept
    try {
        auto shared = std::make_shared<typename ticket<T>::shared>(bell_);
        kafka::control::question q = question_for(shared);
        q.deadline = kafka::clock::now() + timeout;
        h->core->control->ask(std::move(q));
        return ticket<T>(shared);
    } catch (...) {
        return {};
    }

    // find: (client&, patience&) -> result<T>, run by an asker.
    template <class T, class F>
    ticket<T> ask(client_handle* h, duration timeout, F find) noexcept
    {
        return enqueue<T>(h, timeout, [&](const auto& shared) {
            return kafka::control::question{
                .run =
                    [shared, find = std::move(find)](kafka::client& c, kafka::patience& p) {
                        shared->give(find(c, p));
                        return true;
                    },
                .give_up = [shared](fault f) { shared->give(std::move(f)); }};
        });
    }

    bool brisk_;
    std::shared_ptr<doorbell> bell_;
    std::vector<std::unique_ptr<client_handle>> clients_;
};

} // namespace

result<std::unique_ptr<hub>> hub::make(bool brisk) noexcept
try {
    return std::unique_ptr<hub>(std::make_unique<hub_impl>(brisk));
} catch (const std::bad_alloc&) {
    return no_memory();
} catch (const std::exception& e) {
    return fault{.kind = fault_kind::internal, .message = e.what()};
}

int hub::living_threads() noexcept
{
    return living::count();
}

} // namespace ke::ingest
