// What a hub has for one list of properties: the control thread, the client that it asks by (of a worker;
// a session's is the first reader's), and readers, each a client (librdkafka handle) with a lane of its
// own. The first reader's client is watched by the control thread, and is all that most ever need. Others come when a partition is read by two feeds at once, which one
// handle cannot do, and for the further lanes of a busy feed; they go with the feed that needed them.
//
// Server's thread only. Feeds hold the core too and may outlive hub and handle.
#pragma once

#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "ingest/hub.h"
#include "ingest/lane.h"
#include "ingest/layout_queue.h"
#include "kafka/client.h"
#include "kafka/control.h"

namespace ke::ingest {

struct reader {
    std::shared_ptr<kafka::client> client;
    std::shared_ptr<lane> runs; // null until the first feed
    // What living feeds read here. A feed gives its claims back when it is shut, which is enough: the
    // lane closes what was shut before it opens anything.
    std::set<topic_partition> claims;
    int feeds = 0;

    bool claims_any(const std::vector<topic_partition>&) const;
    ~reader();
};

struct client_core {
    properties settings;
    bool brisk = false;
    std::shared_ptr<doorbell> bell; // of the hub
    std::shared_ptr<kafka::client> client;
    std::shared_ptr<kafka::client> asked; // tells the readers' of brokers
    std::unique_ptr<kafka::control> control;
    std::shared_ptr<layout_queue> layouts = std::make_shared<layout_queue>(); // askers hold it too
    std::vector<std::unique_ptr<reader>> readers; // never empty; the first shares client

    static result<std::shared_ptr<client_core>> make(const properties&, bool brisk,
                                                     std::shared_ptr<doorbell>);
    // A reader that can take these partitions and is not among those taken already.
    result<reader*> reader_for(const std::vector<topic_partition>&,
                               const std::vector<reader*>& taken);
    void release(reader*, const std::vector<topic_partition>&) noexcept;
    void halt() noexcept;
};

class client_handle {
  public:
    explicit client_handle(std::shared_ptr<client_core> c) : core(std::move(c)) {}
    const std::shared_ptr<client_core> core;
};

} // namespace ke::ingest
