// Dead letters on their way to the dead-letter topics of their views (kafka.dead_letter_topic).
//
// A batch that refuses a record writes its row of kafka.dead_letter_log with to_topic set, in the same
// transaction as the positions, and wakes the supervisor once it has committed. The supervisor reads
// such rows a page at a time, makes sure that what it has read is on disk, hands the records to a
// producer (ingest::hub), and sets to_topic null when the broker has confirmed them. So nothing is
// produced that a crash could take back, nothing is forgotten when any process dies, and a record may
// come twice when one dies between the confirmation and the mark: at least once.
//
// No call waits for Kafka. A view whose records cannot be delivered rests (jittered back-off up to a
// minute) and holds nobody up. A paused view's records wait until it is resumed, so that a restored
// copy produces nothing by itself. Supervisor's process, its only thread.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "datatype/timestamp.h"
}

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ingest/hub.h"
#include "stream/ends.h"
#include "stream/registry.h"
#include "topic/topic.h"

namespace ke::stream {

class outbox {
  public:
    // The views that may have letters, and how their topic tables reach the brokers.
    void want(const std::vector<registered_view>&, const std::map<Oid, topic::topic_table>&);
    // A batch has left some.
    void look();
    // Sends what can be sent and marks what was delivered; the time to look again, 0: never. The hub,
    // which has to outlive this, is asked for only where there is something to send.
    TimestampTz step(TimestampTz now, end_watch& hubs);
    // A delivery is there.
    bool ready() const;

  private:
    struct exit; // of one view
    struct wire; // a producer and the views that share it
    void hear();
    void settle(exit&, TimestampTz now);
    void send_page(exit&, ingest::hub&, TimestampTz now);
    void say(exit&, const std::string& words);
    void fail(exit&, const std::string& words, TimestampTz now);
    wire* wire_of(exit&, ingest::hub&, TimestampTz now);

    std::map<Oid, std::shared_ptr<exit>> exits_;
    std::vector<std::shared_ptr<wire>> wires_;
    std::size_t bytes_ = 0; // handed over and not confirmed
};

} // namespace ke::stream
