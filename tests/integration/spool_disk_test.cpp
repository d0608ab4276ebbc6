// The spool on a disk that is full, read-only or was written to only in part: what publishers are told, what is
// broadcast, and what RabbitMQ gets in the end.
#include "support/proxy.hpp"
#include "support/rabbitmq.hpp"
#include "support/realtime.hpp"
#include "support/small_disk.hpp"
#include "support/sqlite.hpp"
#include "support/websocket.hpp"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

// An exchange and a queue of the test's own.
NginxOptions withSpool(const std::string& server, const std::string& spool, const std::string& name)
{
    auto options = endpoints();
    options.http = "realtime_broker events { server " + server + "; exchange " + name + "; queue " + name +
                   ".all; spool " + spool + "; }\nrealtime_app default { broker events; }\n";
    options.server += "location = /stored { realtime_ping 500ms; realtime_timeout 1s; "
                      "realtime_publish room ack=stored; }\n";
    return options;
}

Json broker(const Nginx& nginx)
{
    return Json::parse(get(nginx.url("/status?format=json")).body).at("brokers").at("events");
}

// The ids of events that were acknowledged.
class Acknowledged {
public:
    void store(const Nginx& nginx, int count, std::size_t size = 100)
    {
        for (int i = 0; i < count; ++i) {
            const auto answer = post(nginx.url("/stored"), std::string(size, 'x'));
            expectEqual(answer.status, 200L);
            add(answer);
        }
    }
    void add(const HttpResponse& answer) { ids_.insert(Json::parse(answer.body).at("id").text()); }
    // Which nginx declares when it is connected.
    void expectAllIn(const RabbitMq& server, const std::string& queue, const Nginx& nginx) const
    {
        eventually([&] { return broker(nginx).at("state").text() == "up"; }, "the broker is up");
        AmqpConsumer consumer(server, AmqpQueue{queue});
        auto missing = ids_;
        while (!missing.empty()) {
            missing.erase(consumer.receive(30s).messageId);
        }
    }
    std::size_t count() const { return ids_.size(); }
    bool has(const std::string& id) const { return ids_.contains(id); }

private:
    std::set<std::string> ids_;
};

void awaitDown(const Nginx& nginx)
{
    eventually([&] { return broker(nginx).at("state").text() == "down"; }, "RabbitMQ is away");
}

// Until then some may be taken that are neither stored nor acknowledged: they were broadcast.
void awaitRefusal(const Nginx& nginx, Acknowledged& acknowledged, std::size_t size)
{
    for (int i = 0; i < 3000; ++i) {
        const auto answer = post(nginx.url("/stored"), std::string(size, 'x'));
        if (answer.status == 503) {
            return;
        }
        if (answer.status == 200) {
            acknowledged.add(answer);
        } else {
            expectEqual(answer.status, 504L);
        }
    }
    throw std::runtime_error("nothing was refused");
}

// Behind awaitRefusal().
void expectRefused(const Nginx& nginx)
{
    WebSocket subscriber(nginx.port(), "/sub/room");
    for (int i = 0; i < 30; ++i) {
        const auto answer = post(nginx.url(i % 2 == 0 ? "/stored" : "/pub/room"), "x");
        expectEqual(answer.status, 503L);
        expectEqual(answer.header("retry-after"), "1");
    }
    subscriber.expectSilence();
    eventually([&] { return broker(nginx).at("refused_total").number() == 31; }, "all are counted");
    const auto metrics = get(nginx.url("/status?format=prometheus")).body;
    expectContains(metrics, "realtime_broker_spool_failed_workers{broker=\"events\"} 1");
    const auto since = Clock::now();
    eventually([&] { return Clock::now() - since > 2500ms; }, "the spool is tried again twice");
    for (const char* line : {"cannot use the spool", "neither broker nor spool takes events"}) {
        expectEqual(nginx.countInErrorLog(line), 1U);
    }
    expectEqual(nginx.countInErrorLog("can be written again"), 0U);
}

// A small disk for the spool, and RabbitMQ out of reach behind a proxy.
struct Outage {
    SmallDisk disk{"64m"};
    RabbitMq& server = RabbitMq::share();
    Proxy proxy{server.port()};

    Outage() { proxy.block(true); }
};

std::string nowhere()
{
    return "amqp://127.0.0.1:" + std::to_string(freePort());
}

AmqpConsumer consumerOf(const RabbitMq& server, const std::string& name, const Nginx& nginx)
{
    eventually([&] { return broker(nginx).at("state").text() == "up"; }, "the broker is up");
    return {server, AmqpQueue{name + ".all"}};
}

// An nginx that is killed with so many acknowledged events in the spool; their ids in order.
std::vector<std::string> leaveInSpool(const std::filesystem::path& spool, int count)
{
    Nginx nginx(withSpool(nowhere(), spool, "torn"));
    std::vector<std::string> ids;
    for (int i = 0; i < count; ++i) { // each a write of its own, of several pages
        const auto answer = post(nginx.url("/stored"), std::string(5000, 'x'));
        expectEqual(answer.status, 200L);
        ids.push_back(Json::parse(answer.body).at("id").text());
    }
    const auto workers = nginx.workers();
    kill(nginx.master(), SIGKILL);
    for (const pid_t worker : workers) {
        kill(worker, SIGKILL);
    }
    expectEqual(nginx.waitForExit(Patience), 128 + SIGKILL);
    return ids;
}

void copySpool(const std::filesystem::path& from, const std::filesystem::path& to)
{
    std::filesystem::create_directory(to);
    for (const char* file : {"events.0.spool", "events.0.spool-wal"}) {
        if (std::filesystem::exists(from / file)) {
            std::filesystem::copy_file(from / file, to / file);
        }
    }
}

std::uintmax_t fileSize(const std::filesystem::path& file)
{
    return std::filesystem::file_size(file);
}

void cut(const std::filesystem::path& file, std::uintmax_t size)
{
    std::filesystem::resize_file(file, size);
}

void overwrite(const std::filesystem::path& file, std::uintmax_t from, std::size_t count, char with)
{
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(from));
    stream << std::string(count, with) << std::flush;
    expect(stream.good(), "it can be written");
}

// As the error log tells when the spool is opened.
std::size_t eventsOfBefore(const Nginx& nginx)
{
    constexpr std::string_view Words = ".spool holds ";
    std::size_t at = 0;
    eventually([&] { return (at = nginx.errorLog().find(Words)) != std::string::npos; }, "events of before");
    return static_cast<std::size_t>(toInt(std::string_view(nginx.errorLog()).substr(at + Words.size())));
}

// Hundredths of a second that a process has used.
int cpuTicks(pid_t process)
{
    const auto words = split(readFile("/proc/" + std::to_string(process) + "/stat"), ' ');
    const auto afterName =
        std::find_if(words.begin(), words.end(), [](const auto& word) { return word.ends_with(')'); });
    return toInt(*(afterName + 12)) + toInt(*(afterName + 13));
}

} // namespace

TEST(a_full_disk_refuses_until_there_is_room_and_loses_nothing_that_was_acknowledged)
{
    Outage outage;
    if (!outage.disk.mounted()) {
        skip();
    }
    const Nginx nginx(withSpool(outage.proxy.url(), outage.disk.path(), "full"));
    Acknowledged acknowledged;
    acknowledged.store(nginx, 20);
    outage.disk.fill();
    awaitRefusal(nginx, acknowledged, 4000);
    expectRefused(nginx);
    outage.disk.makeRoom();
    eventually([&] { return post(nginx.url("/pub/room"), "x").status == 202; }, "it takes events again");
    acknowledged.store(nginx, 20);
    expectEqual(nginx.countInErrorLog("can be written again"), 1U);
    outage.proxy.block(false);
    acknowledged.expectAllIn(outage.server, "full.all", nginx);
    eventually([&] { return broker(nginx).at("spool_events").number() == 0; }, "the spool is empty");
}

TEST(a_disk_that_the_spool_has_filled_itself_drains_without_help)
{
    Outage outage;
    if (!outage.disk.mounted()) {
        skip();
    }
    auto options = withSpool(outage.proxy.url(), outage.disk.path(), "filled");
    replaceAll(options.http, "filled.all;", "filled.all bind=room;");
    const Nginx nginx(options);
    expectEqual(post(nginx.url("/pub/elsewhere"), "that no queue takes").status, 202L);
    Acknowledged acknowledged;
    awaitRefusal(nginx, acknowledged, 50'000);
    expect(acknowledged.count() > 100, "all but what draining takes was used");
    expectRefused(nginx);
    outage.proxy.block(false);
    acknowledged.expectAllIn(outage.server, "filled.all", nginx);
    eventually([&] { return broker(nginx).at("spool_events").number() == 1; }, "all but one are gone");
    // The file is as large as before, and can be used again.
    eventually([&] { return nginx.countInErrorLog("can be written again") == 1; }, "it is noticed");
    outage.proxy.block(true);
    awaitDown(nginx);
    acknowledged.store(nginx, 20);
}

TEST(a_read_only_disk_refuses_from_the_start_only_while_rabbitmq_is_away)
{
    Outage outage;
    if (!outage.disk.mounted()) {
        skip();
    }
    outage.disk.setReadOnly(true);
    const Nginx nginx(withSpool(outage.proxy.url(), outage.disk.path(), "readonly"));
    Acknowledged acknowledged;
    awaitRefusal(nginx, acknowledged, 100);
    expectEqual(acknowledged.count(), 0U);
    expectRefused(nginx);
    expectContains(nginx.errorLog(), "Read-only file system");
    outage.proxy.block(false);
    eventually([&] { return post(nginx.url("/pub/room"), "x").status == 202; }, "RabbitMQ takes events");
    acknowledged.store(nginx, 20);
    outage.disk.setReadOnly(false);
    eventually([&] { return nginx.countInErrorLog("can be written again") == 1; }, "it is noticed");
    outage.proxy.block(true);
    awaitDown(nginx);
    acknowledged.store(nginx, 20);
    outage.proxy.block(false);
    acknowledged.expectAllIn(outage.server, "readonly.all", nginx);
}

TEST(a_worker_whose_disk_has_become_read_only_refuses_and_keeps_what_was_acknowledged)
{
    Outage outage;
    if (!outage.disk.mounted()) {
        skip();
    }
    auto options = withSpool(outage.proxy.url(), outage.disk.path(), "remounted");
    options.expectedErrors = {"exited on signal 9"};
    const Nginx nginx(options);
    Acknowledged acknowledged;
    acknowledged.store(nginx, 20);
    // The system makes it read-only only while nobody writes: between two workers.
    kill(nginx.master(), SIGSTOP);
    kill(nginx.workers().front(), SIGKILL);
    eventually(
        [&] {
            try {
                outage.disk.setReadOnly(true);
                return true;
            } catch (const std::exception&) {
                return false;
            }
        },
        "it is read-only");
    kill(nginx.master(), SIGCONT);
    awaitRefusal(nginx, acknowledged, 100);
    expectEqual(acknowledged.count(), 20U);
    expectRefused(nginx);
    outage.disk.setReadOnly(false);
    eventually([&] { return post(nginx.url("/pub/room"), "x").status == 202; }, "it takes events again");
    acknowledged.store(nginx, 20);
    outage.proxy.block(false);
    acknowledged.expectAllIn(outage.server, "remounted.all", nginx);
    eventually([&] { return broker(nginx).at("spool_events").number() == 0; }, "the spool is empty");
}

TEST(a_torn_write_costs_what_it_tore_and_nothing_before_it)
{
    auto& server = RabbitMq::share();
    const TempDir directory;
    const auto crashed = directory.path() / "crashed";
    const auto ids = leaveInSpool(crashed, 30);
    struct Case {
        const char* name;
        std::function<void(const std::filesystem::path& log)> tear;
        std::size_t least, most; // events that are left
    } cases[] = {
        {"killed", [](const auto&) {}, 30, 30},
        {"cut-in-the-last-frame", [](const auto& log) { cut(log, fileSize(log) - 1000); }, 29, 29},
        {"zeros-in-the-last-frame", [](const auto& log) { overwrite(log, fileSize(log) - 1000, 1000, '\0'); },
         29, 29},
        {"garbage-in-the-last-frame",
         [](const auto& log) { overwrite(log, fileSize(log) - 1000, 1000, '#'); }, 29, 29},
        {"cut-in-the-middle", [](const auto& log) { cut(log, fileSize(log) / 2); }, 5, 25},
        {"garbage-in-the-middle", [](const auto& log) { overwrite(log, fileSize(log) / 2, 1000, '#'); }, 5,
         25},
    };
    for (const Case& one : cases) {
        const auto spool = directory.path() / one.name;
        copySpool(crashed, spool);
        one.tear(spool / "events.0.spool-wal");
        const Nginx nginx(withSpool(server.url(), spool, one.name));
        const std::size_t left = eventsOfBefore(nginx);
        expect(left >= one.least && left <= one.most, one.name + (": " + std::to_string(left) + " are left"));
        AmqpConsumer consumer = consumerOf(server, one.name, nginx);
        for (std::size_t i = 0; i < left; ++i) {
            expectEqual(consumer.receive(30s).messageId, ids[i]);
        }
        Acknowledged more;
        more.store(nginx, 1);
        expect(more.has(consumer.receive(30s).messageId), "it goes on, and nothing else was left");
        expectEqual(nginx.countInErrorLog("damaged"), 0U);
    }
}

TEST(a_damaged_file_is_set_aside_with_a_clear_word_and_nginx_goes_on)
{
    auto& server = RabbitMq::share();
    const TempDir directory;
    const auto crashed = directory.path() / "crashed";
    leaveInSpool(crashed, 200);
    query(crashed / "events.0.spool", "PRAGMA wal_checkpoint(TRUNCATE)");
    struct Case {
        const char* name;
        std::function<void(const std::filesystem::path& file)> damage;
    } cases[] = {
        {"shorter", [](const auto& file) { cut(file, fileSize(file) / 2); }},
        {"garbage-within", [](const auto& file) { overwrite(file, fileSize(file) / 2, 20'000, 'x'); }},
        {"garbage-throughout", [](const auto& file) { overwrite(file, 0, fileSize(file), 'x'); }},
    };
    for (const Case& one : cases) {
        const auto spool = directory.path() / one.name;
        copySpool(crashed, spool);
        one.damage(spool / "events.0.spool");
        const Nginx nginx(withSpool(server.url(), spool, one.name));
        AmqpConsumer consumer = consumerOf(server, one.name, nginx);
        Acknowledged fresh;
        fresh.store(nginx, 5);
        for (int i = 0; i < 5; ++i) {
            expect(fresh.has(consumer.receive(30s).messageId), "new events are stored and sent");
        }
        eventually([&] { return nginx.countInErrorLog("is damaged and was set aside as") == 1; },
                   "the error log names it");
        std::size_t aside = 0;
        for (const auto& entry : std::filesystem::directory_iterator(spool)) {
            aside += entry.path().string().find("events.0.spool.damaged-") != std::string::npos ? 1 : 0;
        }
        expectEqual(aside, 1U);
    }
}

TEST(a_damaged_file_that_cannot_be_set_aside_is_told_of_without_spinning)
{
    auto options = withSpool(nowhere(), "%DIR%/data/spool", "stuck");
    options.user = "www-data"; // root may write anywhere
    options.expectedErrors = {"exited on signal 9"};
    Nginx nginx(options);
    expectEqual(post(nginx.url("/stored"), "x").status, 200L);
    const auto spool = nginx.directory() / "data" / "spool";
    std::filesystem::remove(spool / "events.0.spool-wal");
    writeFile(spool / "events.0.spool", std::string(10'000, 'x'));
    std::filesystem::permissions(spool, std::filesystem::perms(0555));
    nginx.killWorker(nginx.workers().front());
    eventually([&] { return nginx.countInErrorLog("cannot be set aside: Permission denied") == 1; },
               "it is told");
    const auto ticks = cpuTicks(nginx.workers().front());
    const auto since = Clock::now();
    eventually([&] { return Clock::now() - since > 1s; }, "time passes");
    expect(cpuTicks(nginx.workers().front()) - ticks < 30, "it does not spin");
    Acknowledged acknowledged;
    awaitRefusal(nginx, acknowledged, 100);
    std::filesystem::permissions(spool, std::filesystem::perms(0777));
    eventually([&] { return post(nginx.url("/stored"), "x").status == 200; }, "it takes events");
}

TEST_MAIN()
