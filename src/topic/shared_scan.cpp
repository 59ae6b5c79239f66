#include "topic/shared_scan.h"

#include <algorithm>
#include <cstring>

namespace ke::topic {

namespace {

template <class T>
void put(std::string& to, const T& value)
{
    to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
T get(const char*& from)
{
    T value;
    std::memcpy(&value, from, sizeof value);
    from += sizeof value;
    return value;
}

} // namespace

std::string pack_ranges(const std::vector<partition_ranges>& all)
{
    std::string packed;
    for (const partition_ranges& p : all) {
        put(packed, p.topic.size());
        packed += p.topic;
        put(packed, p.partition);
        put(packed, p.ranges.size());
        for (const interval& i : p.ranges)
            put(packed, i);
    }
    return packed;
}

std::vector<partition_ranges> unpack_ranges(const shared_scan* s)
{
    std::vector<partition_ranges> all(s->partitions);
    const char* at = s->packed;
    for (partition_ranges& p : all) {
        const auto length = get<std::size_t>(at);
        p.topic.assign(at, length);
        at += length;
        p.partition = get<std::int32_t>(at);
        p.ranges.resize(get<std::size_t>(at));
        for (interval& i : p.ranges)
            i = get<interval>(at);
    }
    return all;
}

std::size_t size_of_shared(std::size_t packed)
{
    return offsetof(shared_scan, packed) + packed + 4096;
}

bool write_shared(shared_scan* s, const std::string& packed, std::size_t partitions)
{
    const bool fits = packed.size() <= s->room;
    s->partitions = fits ? static_cast<std::uint32_t>(partitions) : 0;
    if (fits)
        std::memcpy(s->packed, packed.data(), packed.size());
    pg_atomic_write_u32(&s->next, 0);
    return fits;
}

claimed claim(shared_scan* s)
{
    std::uint32_t first = pg_atomic_read_u32(&s->next);
    for (;;) {
        const std::uint32_t left = s->partitions - first;
        if (left == 0)
            return {first, first};
        const std::uint32_t last = first + std::max(1u, left / (2 * s->participants));
        if (pg_atomic_compare_exchange_u32(&s->next, &first, last))
            return {first, last};
    }
}

} // namespace ke::topic
