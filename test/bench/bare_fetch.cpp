// bare_fetch BROKERS TOPIC PARTITIONS RECORDS: so many records by librdkafka, and dropped. What any reader
// of the topic could reach at best.
#include <librdkafka/rdkafka.h>

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv)
{
    if (argc != 5)
        return 2;
    char words[512];
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    const char* const settings[][2] = {{"bootstrap.servers", argv[1]},
                                       {"group.id", "bare"},
                                       {"queued.min.messages", "10000000"},
                                       {"queued.max.messages.kbytes", "1000000"}};
    for (auto& [name, value] : settings)
        if (rd_kafka_conf_set(conf, name, value, words, sizeof words) != RD_KAFKA_CONF_OK)
            return 2;
    rd_kafka_t* consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, words, sizeof words);
    if (!consumer)
        return 2;
    rd_kafka_topic_t* topic = rd_kafka_topic_new(consumer, argv[2], nullptr);
    rd_kafka_queue_t* queue = rd_kafka_queue_new(consumer);
    for (int p = 0; p < std::atoi(argv[3]); p++)
        rd_kafka_consume_start_queue(topic, p, RD_KAFKA_OFFSET_BEGINNING, queue);
    rd_kafka_message_t* taken[1000];
    for (long left = std::atol(argv[4]); left > 0;) {
        const ssize_t n = rd_kafka_consume_batch_queue(queue, 20, taken, 1000);
        for (ssize_t i = 0; i < n; i++) {
            left -= taken[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR;
            rd_kafka_message_destroy(taken[i]);
        }
    }
    std::_Exit(0); // nothing of it is wanted any more
}
