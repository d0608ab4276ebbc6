// The spool: events that outlive an absent broker, a dead process, a full disk and a torn file.

#include "broker_testing.hpp"

#include "broker/spool/spool.hpp"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;
namespace fs = std::filesystem;

namespace {

class TempDir {
public:
    TempDir()
    {
        std::string name = (fs::temp_directory_path() / "rt-spool.XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error("no temporary directory");
        }
        path_ = name;
    }
    ~TempDir()
    {
        std::error_code ignored;
        fs::permissions(path_, fs::perms::owner_all, ignored);
        fs::remove_all(path_, ignored);
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    const std::string& path() const { return path_; }
    std::vector<std::string> spools() const
    {
        std::vector<std::string> out;
        for (const auto& entry : fs::directory_iterator(path_)) {
            if (entry.path().extension() == ".spool") {
                out.push_back(entry.path().filename().string());
            }
        }
        std::sort(out.begin(), out.end());
        return out;
    }

private:
    std::string path_;
};

// A store that the test plays; what it has outlives its links.
struct Store {
    std::mutex mutex;
    bool reachable = false, silent = false, blocked = false;
    std::size_t window = 100;
    std::size_t budget = SIZE_MAX; // how many more it confirms
    std::set<std::string> refused;
    std::vector<std::string> stored;
    std::vector<BrokerEvent> events;

    template <class Change> auto with(Change change)
    {
        const std::lock_guard lock(mutex);
        return change(*this);
    }
    std::vector<std::string> ids()
    {
        return with([](Store& s) { return s.stored; });
    }
    std::size_t count()
    {
        return with([](Store& s) { return s.stored.size(); });
    }
    void setReachable(bool yes)
    {
        with([yes](Store& s) { s.reachable = yes; });
    }
    LinkFactory factory();
};

class StoreLink final : public Link {
public:
    StoreLink(Store& store, LinkOwner& owner) : store_(store), owner_(owner) {}

    LinkState turn(LinkClock::time_point) override
    {
        const std::lock_guard lock(store_.mutex);
        if (!store_.reachable) {
            fault_ = {"away", false};
            return LinkState::Broken;
        }
        for (; !store_.silent && !pending_.empty() && store_.budget > 0; pending_.erase(pending_.begin())) {
            --store_.budget;
            const auto& [handle, event] = pending_.front();
            if (store_.refused.contains(event->messageId)) {
                owner_.onFailed(handle);
                continue;
            }
            store_.stored.push_back(event->messageId);
            store_.events.push_back(*event);
            owner_.onStored(handle);
        }
        window_ = store_.window;
        state_ = store_.blocked ? LinkState::Blocked : LinkState::Up;
        return state_;
    }
    const LinkFault& fault() const override { return fault_; }
    LinkInterest interest() const override { return {-1, 0, LinkClock::now() + 1ms}; }
    std::size_t room() const override
    {
        return state_ == LinkState::Up && pending_.size() < window_ ? window_ - pending_.size() : 0;
    }
    void submit(std::uint64_t handle, const BrokerEvent& event) override
    {
        pending_.emplace_back(handle, &event);
    }
    void close(LinkClock::time_point) override {}

private:
    Store& store_;
    LinkOwner& owner_;
    LinkFault fault_;
    LinkState state_ = LinkState::Connecting;
    std::size_t window_ = 0;
    std::vector<std::pair<std::uint64_t, const BrokerEvent*>> pending_;
};

LinkFactory Store::factory()
{
    return [this](const BrokerConfig&, const BrokerServer&, LinkOwner& owner) {
        return std::make_unique<StoreLink>(*this, owner);
    };
}

BrokerConfig configIn(const TempDir& dir)
{
    BrokerConfig config;
    config.name = "events";
    config.servers = {parseBrokerServer("amqp://one")};
    config.drain = 500ms;
    config.spool.directory = dir.path();
    return config;
}

std::vector<std::string> ids(int first, int last)
{
    std::vector<std::string> out;
    for (int i = first; i <= last; ++i) {
        out.push_back(std::to_string(i));
    }
    return out;
}

void offerRange(Loop& loop, int first, int last)
{
    for (int i = first; i <= last; ++i) {
        loop.offer(std::to_string(i), static_cast<std::uint64_t>(i));
    }
}

void awaitStored(Store& store, std::size_t count)
{
    eventually("the events are stored", [&] { return store.count() >= count; });
}

void awaitSpooled(Loop& loop, std::uint64_t count)
{
    eventually("the events are spooled", [&] { return loop.broker.stats().spoolEvents == count; });
}

bool sameEvent(const BrokerEvent& a, const BrokerEvent& b)
{
    return a.messageId == b.messageId && a.app == b.app && a.channel == b.channel && a.event == b.event &&
           a.contentType == b.contentType && a.data == b.data && a.routingKey == b.routingKey &&
           a.userId == b.userId && a.socketId == b.socketId && a.timeMs == b.timeMs;
}

PendingEvent pending(const std::string& id)
{
    PendingEvent out;
    out.event = makeEvent(id);
    out.bytes = 300;
    return out;
}

} // namespace

// --- one broker ---------------------------------------------------------------------------------------------------

TEST(an_absent_broker_s_events_are_stored_by_the_spool_and_delivered_in_order_later)
{
    const TempDir dir;
    Store store;
    Loop loop(configIn(dir), store.factory());
    offerRange(loop, 1, 5'000);
    loop.awaitCompletions(5'000);
    assert_int_equal(loop.storedTokens(), 5'000);
    awaitSpooled(loop, 5'000);
    eventually("they have left memory", [&] { return loop.broker.stats().queuedEvents == 0; });
    store.setReachable(true);
    awaitStored(store, 5'000);
    assert_true(store.ids() == ids(1, 5'000));
    awaitSpooled(loop, 0);
    assert_int_equal(loop.broker.stats().spoolBytes, 0);
}

TEST(every_field_of_an_event_survives_the_spool)
{
    const TempDir dir;
    Store store;
    BrokerEvent event = makeEvent("id-1");
    event.data = std::string("a\0\xff\n", 4);
    event.userId = "user";
    event.socketId = "1.2";
    event.contentType = "";
    {
        Loop loop(configIn(dir), store.factory());
        assert_int_equal(loop.broker.offer(event), Offer::Queued);
        awaitSpooled(loop, 1);
    }
    store.setReachable(true);
    Loop loop(configIn(dir), store.factory());
    awaitStored(store, 1);
    assert_true(store.with([&](Store& s) { return sameEvent(s.events.front(), event); }));
}

TEST(a_confirm_that_must_be_the_broker_s_own_waits_for_it_though_the_event_is_spooled)
{
    const TempDir dir;
    Store store;
    Loop loop(configIn(dir), store.factory());
    BrokerEvent event = makeEvent("1", 7);
    event.needsConfirm = true;
    assert_int_equal(loop.broker.offer(event), Offer::Queued);
    loop.offer("2", 8);
    loop.awaitCompletions(1);
    awaitSpooled(loop, 2);
    assert_int_equal(loop.completions.size(), 1);
    assert_int_equal(loop.completions[0].token, 8);
    store.setReachable(true);
    loop.awaitCompletions(2);
    assert_int_equal(loop.completions[1].token, 7);
    assert_true(loop.completions[1].stored);
}

TEST(a_prompt_broker_s_events_do_not_touch_the_spool)
{
    const TempDir dir;
    Store store;
    store.reachable = true;
    Loop loop(configIn(dir), store.factory());
    eventually("it is up", [&] { return loop.broker.stats().state == BrokerState::Up; });
    for (int i = 1; i <= 200; ++i) {
        loop.offer(std::to_string(i), static_cast<std::uint64_t>(i));
        loop.awaitCompletions(static_cast<std::size_t>(i));
        assert_int_equal(loop.broker.stats().spoolEvents, 0);
    }
}

TEST(a_broker_that_falls_silent_or_blocks_is_no_reason_to_wait)
{
    for (const bool blocked : {false, true}) {
        const TempDir dir;
        Store store;
        store.reachable = true;
        Loop loop(configIn(dir), store.factory());
        eventually("it is up", [&] { return loop.broker.stats().state == BrokerState::Up; });
        store.with([&](Store& s) { (blocked ? s.blocked : s.silent) = true; });
        offerRange(loop, 1, 500);
        loop.awaitCompletions(500, 3s);
        store.with([](Store& s) { s.blocked = s.silent = false; });
        awaitStored(store, 500);
        awaitSpooled(loop, 0);
        auto got = store.ids();
        std::sort(got.begin(), got.end());
        assert_true(std::unique(got.begin(), got.end()) == got.end()); // none twice: the link never broke
        assert_int_equal(got.size(), 500);
    }
}

TEST(an_event_without_a_completion_is_spooled_within_seconds_too)
{
    const TempDir dir;
    Store store;
    store.reachable = true;
    store.window = 0; // up, but takes nothing
    Loop loop(configIn(dir), store.factory());
    eventually("it is up", [&] { return loop.broker.stats().state == BrokerState::Up; });
    loop.offer("1");
    awaitSpooled(loop, 1);
}

TEST(new_events_are_not_held_up_by_a_backlog_nor_it_by_them)
{
    const TempDir dir;
    Store store;
    store.window = 10;
    store.budget = 0;
    Loop loop(configIn(dir), store.factory());
    offerRange(loop, 1, 1'000);
    awaitSpooled(loop, 1'000);
    store.setReachable(true);
    eventually("it is up", [&] { return loop.broker.stats().state == BrokerState::Up; });
    for (int i = 1; i <= 100; ++i) {
        loop.offer("new" + std::to_string(i));
    }
    store.with([](Store& s) { s.budget = 210; });
    awaitStored(store, 210);
    const auto got = store.ids();
    const auto fresh = std::count_if(got.begin(), got.end(), [](auto& id) { return id[0] == 'n'; });
    assert_in_range(fresh, 60, 100);
    store.with([](Store& s) { s.budget = SIZE_MAX; });
    awaitStored(store, 1'100);
}

TEST(a_full_spool_refuses_until_it_has_drained_and_says_so_once)
{
    const TempDir dir;
    Store store;
    auto config = configIn(dir);
    config.spool.maxBytes = 100'000;
    Loop loop(config, store.factory());
    int taken = 0;
    while (loop.broker.offer(makeEvent(std::to_string(taken + 1))) == Offer::Queued) {
        ++taken;
        assert_true(taken < 1'000);
    }
    for (int i = 0; i < 50; ++i) {
        assert_int_equal(loop.broker.admits(10), Offer::Full);
        loop.broker.refused(Offer::Full);
    }
    awaitSpooled(loop, static_cast<std::uint64_t>(taken));
    assert_int_equal(loop.broker.admits(10'000), Offer::Full);
    assert_in_range(loop.broker.stats().spoolBytes, 90'000, config.spool.maxBytes + 500); // an event's names
    assert_int_equal(loop.broker.stats().refused, 51);
    store.setReachable(true);
    awaitStored(store, static_cast<std::size_t>(taken));
    awaitSpooled(loop, 0);
    loop.offer("again");
    loop.take();
    assert_int_equal(loop.notesWith("full"), 1);
    assert_int_equal(loop.notesWith("takes events again; 51 were refused"), 1);
}

TEST(refused_events_wait_in_the_spool_and_hold_up_nobody)
{
    const TempDir dir;
    Store store;
    store.reachable = true;
    for (int i = 1; i <= 1'500; ++i) {
        store.refused.insert(std::to_string(i));
    }
    Loop loop(configIn(dir), store.factory());
    offerRange(loop, 1, 2'000);
    awaitStored(store, 500);
    awaitSpooled(loop, 1'500);
    eventually("they left memory", [&] { return loop.broker.stats().queuedEvents == 0; });
    store.with([](Store& s) { s.refused.clear(); });
    awaitStored(store, 2'000);
    loop.awaitCompletions(2'000);
    awaitSpooled(loop, 0);
    auto got = store.ids();
    std::sort(got.begin(), got.end());
    assert_true(std::unique(got.begin(), got.end()) == got.end());
}

TEST(everything_is_confirmed_once_while_the_link_keeps_breaking)
{
    const TempDir dir;
    Store store;
    store.reachable = true;
    Loop loop(configIn(dir), store.factory());
    std::minstd_rand random{1};
    for (int i = 1; i <= 4'000; ++i) {
        loop.offer(std::to_string(i), static_cast<std::uint64_t>(i));
        if (i % 100 == 0) {
            store.with([&](Store& s) {
                s.reachable = random() % 3 != 0;
                s.silent = random() % 3 == 0;
            });
            std::this_thread::sleep_for(2ms);
        }
    }
    store.with([](Store& s) {
        s.reachable = true;
        s.silent = false;
    });
    loop.awaitCompletions(4'000);
    assert_int_equal(loop.storedTokens(), 4'000);
    eventually("all are there", [&] {
        const auto got = store.ids();
        return std::set<std::string>(got.begin(), got.end()).size() == 4'000;
    });
    awaitSpooled(loop, 0);
}

// --- the end of a process -------------------------------------------------------------------------------------------

TEST(stopping_leaves_everything_in_the_spool_at_once_and_the_next_one_delivers_it)
{
    const TempDir dir;
    Store store;
    {
        Loop loop(configIn(dir), store.factory());
        for (int i = 1; i <= 3'000; ++i) {
            loop.offer(std::to_string(i));
        }
        const auto begin = std::chrono::steady_clock::now();
        loop.broker.stop();
        assert_true(std::chrono::steady_clock::now() - begin < 450ms);
        loop.take();
        assert_int_equal(loop.notesWith("lost"), 0);
    }
    store.setReachable(true);
    Loop next(configIn(dir), store.factory());
    awaitStored(store, 3'000);
    assert_true(store.ids() == ids(1, 3'000));
}

TEST(stopping_while_a_broker_is_prompt_delivers_everything_and_leaves_nothing)
{
    const TempDir dir;
    Store store;
    store.reachable = true;
    {
        Loop loop(configIn(dir), store.factory());
        eventually("it is up", [&] { return loop.broker.stats().state == BrokerState::Up; });
        offerRange(loop, 1, 3'000);
    }
    assert_int_equal(store.count(), 3'000);
    const SpoolFile file(dir.path() + "/events.0.spool");
    assert_int_equal(file.events(), 0);
}

TEST(what_completed_survives_a_sudden_death)
{
    const TempDir dir;
    int pipe[2];
    assert_int_equal(::pipe(pipe), 0);
    const pid_t child = fork();
    if (child == 0) {
        Store store;
        Loop loop(configIn(dir), store.factory());
        for (int i = 1;; ++i) {
            loop.offer(std::to_string(i), static_cast<std::uint64_t>(i));
            std::vector<Completion> fresh;
            loop.broker.takeCompletions(fresh);
            for (const auto& completion : fresh) {
                const auto token = static_cast<std::uint32_t>(completion.token);
                if (completion.stored && write(pipe[1], &token, sizeof(token)) < 0) {
                    _exit(1);
                }
            }
            if (i % 50 == 0) {
                std::this_thread::sleep_for(1ms);
            }
        }
    }
    close(pipe[1]);
    std::set<std::string> told;
    std::uint32_t token = 0;
    while (told.size() < 3'000 && read(pipe[0], &token, sizeof(token)) == sizeof(token)) {
        told.insert(std::to_string(token));
    }
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    while (read(pipe[0], &token, sizeof(token)) == sizeof(token)) {
        told.insert(std::to_string(token));
    }
    close(pipe[0]);
    assert_true(told.size() >= 3'000);

    Store store;
    store.reachable = true;
    Loop loop(configIn(dir), store.factory());
    eventually("all that were told of are delivered", [&] {
        const auto got = store.ids();
        const std::set<std::string> have(got.begin(), got.end());
        return std::includes(have.begin(), have.end(), told.begin(), told.end());
    });
}

TEST(what_a_dead_process_left_is_adopted_and_its_file_removed)
{
    const TempDir dir;
    Store store;
    {
        Loop one(configIn(dir), store.factory());
        awaitSpooled(one, 0);
        eventually("the first has its file", [&] { return dir.spools().size() == 1; });
        Loop two(configIn(dir), store.factory());
        Loop three(configIn(dir), store.factory());
        eventually("each has a file", [&] { return dir.spools().size() == 3; });
        one.offer("1", 1);
        for (int i = 2; i <= 3'000; ++i) {
            two.offer(std::to_string(i));
        }
        three.offer("3001");
    }
    assert_int_equal(dir.spools().size(), 3);
    store.setReachable(true);
    Loop loop(configIn(dir), store.factory());
    awaitStored(store, 3'001);
    eventually("the others' files are gone", [&] { return dir.spools().size() == 1; });
    assert_int_equal(store.count(), 3'001);
}

TEST(a_living_process_s_file_is_left_alone)
{
    const TempDir dir;
    Store away, there;
    there.reachable = true;
    Loop owner(configIn(dir), away.factory());
    offerRange(owner, 1, 10);
    owner.awaitCompletions(10);
    Loop other(configIn(dir), there.factory());
    other.offer("11", 11);
    other.awaitCompletions(1);
    std::this_thread::sleep_for(Spool::AdoptEvery + 200ms); // two looks at the directory
    assert_true(there.ids() == std::vector<std::string>{"11"});
    assert_int_equal(owner.broker.stats().spoolEvents, 10);
}

TEST(brokers_of_other_names_have_files_of_their_own)
{
    const TempDir dir;
    Store store;
    auto config = configIn(dir);
    config.name = "a/b.0";
    {
        Loop loop(config, store.factory());
        loop.offer("1", 1);
        loop.awaitCompletions(1);
    }
    assert_true(dir.spools() == std::vector<std::string>{"a%2Fb%2E0.0.spool"});
    Store other;
    other.reachable = true;
    config.name = "a";
    Loop loop(config, other.factory());
    loop.offer("2");
    awaitStored(other, 1);
    assert_true(other.ids() == std::vector<std::string>{"2"});
}

// --- bad disks ------------------------------------------------------------------------------------------------------

// Not as root, whom permissions do not stop: a directory that is not there is refused to everyone.
TEST(without_spool_and_broker_events_are_refused_and_taken_again_once_either_is_back)
{
    const TempDir dir;
    Store store;
    auto config = configIn(dir);
    config.spool.directory = dir.path() + "/missing";
    Loop loop(config, store.factory());
    eventually("it refuses", [&] { return loop.broker.admits(10) == Offer::Unavailable; });
    assert_true(loop.broker.stats().spoolFailed);
    store.setReachable(true);
    eventually("it takes events", [&] { return loop.broker.admits(10) == Offer::Queued; });
    loop.offer("1", 1);
    loop.awaitCompletions(1);
    store.setReachable(false);
    eventually("it refuses again", [&] { return loop.broker.admits(10) == Offer::Unavailable; });
    fs::create_directory(config.spool.directory);
    eventually("it takes events again", [&] { return loop.broker.admits(10) == Offer::Queued; });
    loop.offer("2", 2);
    loop.awaitCompletions(2);
    loop.take();
    assert_true(loop.storedTokens() == 2 && !loop.broker.stats().spoolFailed);
    assert_int_equal(loop.notesWith("cannot use the spool"), 1);
    assert_int_equal(loop.notesWith("can be written again"), 1);
}

TEST(a_full_disk_loses_nothing_that_was_taken_and_is_recovered_from)
{
    const TempDir dir;
    Store store;
    Loop loop(configIn(dir), store.factory());
    eventually("the file is there", [&] { return dir.spools().size() == 1; });
    loop.offer("1", 1);
    loop.awaitCompletions(1);
    // SIGXFSZ is ignored below: writing past the limit fails as on a full disk.
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit unlimited{};
    getrlimit(RLIMIT_FSIZE, &unlimited);
    const rlimit small{64 << 10, unlimited.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    int taken = 1;
    eventually("the spool fails", [&] {
        BrokerEvent event = makeEvent(std::to_string(taken + 1), static_cast<std::uint64_t>(taken) + 1);
        event.data.assign(2'000, 'x');
        taken += loop.broker.offer(event) == Offer::Queued ? 1 : 0;
        return loop.broker.stats().spoolFailed;
    });
    eventually("events are refused", [&] { return loop.broker.admits(10) == Offer::Unavailable; });
    setrlimit(RLIMIT_FSIZE, &unlimited);
    eventually("events are taken", [&] { return loop.broker.admits(10) == Offer::Queued; });
    loop.awaitCompletions(static_cast<std::size_t>(taken));
    assert_int_equal(loop.storedTokens(), taken);
    store.setReachable(true);
    awaitStored(store, static_cast<std::size_t>(taken));
    assert_true(store.ids() == ids(1, taken));
}

TEST(a_deleted_file_is_noticed_and_what_memory_still_has_is_spooled_anew)
{
    const TempDir dir;
    Store store;
    store.reachable = true;
    Loop loop(configIn(dir), store.factory());
    eventually("it is up", [&] { return loop.broker.stats().state == BrokerState::Up; });
    store.with([](Store& s) { s.silent = true; });
    offerRange(loop, 1, 50);
    loop.awaitCompletions(50);
    for (const auto& name : dir.spools()) {
        fs::remove(dir.path() + "/" + name);
        fs::remove(dir.path() + "/" + name + "-wal");
    }
    offerRange(loop, 51, 60);
    loop.awaitCompletions(60);
    awaitSpooled(loop, 60); // those in flight once more
    store.with([](Store& s) { s.silent = false; });
    awaitStored(store, 60);
    awaitSpooled(loop, 0);
}

TEST(a_file_that_is_no_database_is_set_aside)
{
    const TempDir dir;
    std::ofstream(dir.path() + "/events.0.spool") << std::string(10'000, 'x');
    Store store;
    Loop loop(configIn(dir), store.factory());
    // Until there is another file, events are refused.
    eventually("an event is taken", [&] { return loop.broker.offer(makeEvent("1", 1)) == Offer::Queued; });
    loop.awaitCompletions(1);
    assert_true(loop.completions[0].stored);
    loop.take();
    assert_int_equal(loop.notesWith("set aside"), 1);
    bool aside = false;
    for (const auto& entry : fs::directory_iterator(dir.path())) {
        aside = aside || entry.path().string().find(".damaged-") != std::string::npos;
    }
    assert_true(aside);
}

// As when the machine loses power in the middle of a transaction: the log of writes ends anywhere.
TEST(a_torn_write_costs_only_the_transaction_that_it_tore)
{
    const TempDir dir;
    const std::string path = dir.path() + "/events.0.spool";
    const std::string copy = dir.path() + "/events.1.spool";
    std::uintmax_t sizeOfTen = 0, sizeOfAll = 0;
    {
        SpoolFile file(path);
        for (int i = 1; i <= 20; ++i) {
            PendingEvent event = pending(std::to_string(i));
            PendingEvent* events[] = {&event};
            file.append(events, i, false);
            if (i == 10) {
                sizeOfTen = fs::file_size(path + "-wal");
            }
        }
        sizeOfAll = fs::file_size(path + "-wal");
        fs::copy_file(path, copy); // while it is open: at its close, the log is moved into the file
        fs::copy_file(path + "-wal", copy + "-wal");
    }
    assert_true(sizeOfTen < sizeOfAll);
    for (std::uintmax_t size = sizeOfTen; size < sizeOfAll; size += 1'111) {
        const std::string torn = dir.path() + "/torn";
        fs::copy_file(copy, torn, fs::copy_options::overwrite_existing);
        fs::copy_file(copy + "-wal", torn + "-wal", fs::copy_options::overwrite_existing);
        fs::resize_file(torn + "-wal", size);
        fs::resize_file(torn + "-wal", size + 3'000); // and zeros behind
        SpoolFile file(torn);
        const auto events = file.read(0, false, 100, 1 << 20);
        assert_true(events.size() >= 10 && events.size() < 20);
        for (std::size_t i = 0; i < events.size(); ++i) {
            assert_text_equal(events[i]->event.messageId, std::to_string(i + 1));
        }
    }
}

// --- the file -------------------------------------------------------------------------------------------------------

TEST(rows_are_erased_in_any_order_and_counted)
{
    const TempDir dir;
    SpoolFile file(dir.path() + "/f");
    std::vector<PendingEvent> events;
    std::vector<PendingEvent*> all;
    for (int i = 1; i <= 10; ++i) {
        events.push_back(pending(std::to_string(i)));
    }
    for (auto& event : events) {
        all.push_back(&event);
    }
    file.append(all, 1, false);
    assert_int_equal(file.bytes(), 3'000);
    std::vector<SpoolFile::Entry> gone{{7, 300}, {2, 300}, {3, 300}, {10, 300}};
    file.erase(gone);
    assert_int_equal(file.events(), 6);
    assert_int_equal(file.bytes(), 1'800);
    const auto left = file.read(1, false, 3, 1 << 20);
    assert_int_equal(left.size(), 3);
    assert_int_equal(left[0]->row, 4);
    assert_int_equal(left[2]->row, 6);
    assert_int_equal(file.read(1, false, 100, 1).size(), 1); // bytes bound all but the first
}

TEST(a_lock_is_exclusive_until_its_holder_is_gone)
{
    const TempDir dir;
    const std::string path = dir.path() + "/f";
    {
        auto lock = SpoolLock::take(path);
        assert_true(lock.has_value());
        assert_false(SpoolLock::take(path).has_value());
    }
    auto lock = SpoolLock::take(path);
    assert_true(lock.has_value());
    lock->remove();
    assert_true(SpoolLock::take(path).has_value());
}

TEST_MAIN()
