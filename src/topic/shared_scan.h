// A scan that the processes of a parallel query share. The leader asks the brokers, evaluates the conditions
// and writes down what is to be read of each partition, so that all read the same records; then leader and
// workers claim partitions until none is left, each reading its own by a hub, client and threads of its own.
// Large claims first, so that a reader has many partitions at once; small ones towards the end, so that
// nobody is waited for long.
//
// Plain data in the query's dynamic shared memory; the server's thread of each process.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "port/atomics.h"
}

#include <string>
#include <vector>

#include "topic/reader.h"

namespace ke::topic {

struct shared_scan {
    pg_atomic_uint32 next; // the first partition that is not claimed
    std::uint32_t partitions;
    std::uint32_t participants;
    pg_atomic_uint64 records, bytes, rejected; // of all who are done
    std::size_t room;                          // of what follows
    char packed[FLEXIBLE_ARRAY_MEMBER];
};

std::string pack_ranges(const std::vector<partition_ranges>&);
std::vector<partition_ranges> unpack_ranges(const shared_scan*);

// Shared memory for so much packed; a rescan with other conditions may need a little more.
std::size_t size_of_shared(std::size_t packed);
// From the beginning. What does not fit is not shared: false, and there is nothing to claim.
bool write_shared(shared_scan*, const std::string& packed, std::size_t partitions);

// The next partitions, [first, last); empty at the end.
struct claimed {
    std::uint32_t first, last;
};
claimed claim(shared_scan*);

} // namespace ke::topic
