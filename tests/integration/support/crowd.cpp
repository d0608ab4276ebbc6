#include "support/crowd.hpp"

#include "support/json.hpp"

namespace realtime::testing {

namespace {

constexpr const char* Load = "private-load";
constexpr const char* Presence = "presence-load";
const std::string LoadPath = "/shop/sub/private-load";

std::string memberData(const std::string& user)
{
    return R"({"user_id":")" + user + "\"}";
}

} // namespace

NginxOptions crowded(int clients, int workers)
{
    NginxOptions options = shop(workers);
    options.connections = 3 * clients + 256;
    options.zone = "main 64m";
    options.http += "realtime_ping 30m;\nrealtime_timeout 1h;\n";
    options.main = "worker_rlimit_nofile " + std::to_string(2 * clients + 1024) + ";\n";
    replaceAll(options.http, "60s", "1s");
    replaceAll(options.http, "subscription_count on;", ""); // that of many is told late
    replaceAll(options.http, ",subscription_count", "");
    replaceAll(options.http, "client_publish on;", "client_publish on; history 1000000 1h;");
    replaceAll(options.http, "watchlist on;", "presence_limits " + std::to_string(clients + 1) + ";");
    options.server += "location ~ ^/shop/ws/(?<ch>.*)$ { realtime_pubsub $ch app=shop; }\n";
    return options;
}

void Sequence::see(const std::string& who, const std::string& number)
{
    const int value = toInt(number);
    expect(last_ < 0 || value == last_ + 1, who + ": " + number + " after " + std::to_string(last_));
    last_ = value;
}

// --- those that move ----------------------------------------------------------------------------------------------

Mover::Mover(const Nginx& nginx, int index) : who_("client " + std::to_string(index)), kind_(index % 6)
{
    const std::uint16_t port = nginx.port();
    if (kind_ == 0 || kind_ == 2) {
        raw_ = std::make_unique<RawWebSocket>(port, LoadPath);
    } else if (kind_ == 1) {
        raw_ = std::make_unique<RawWebSocket>(port, LoadPath, "Sec-WebSocket-Protocol: realtime.json\r\n");
    } else if (kind_ == 3) { // in the middle of a message
        raw_ = std::make_unique<RawWebSocket>(port, "/shop/ws/private-load");
        raw_->send({Text, "half ", false});
    } else {
        pusher_ = std::make_unique<PusherClient>(port, ShopKey, ShopSecret);
        pusher_->subscribe(Load);
        if (kind_ == 5) {
            pusher_->subscribe(Presence, memberData(std::to_string(index)));
        }
    }
}

void Mover::finishMessage()
{
    if (kind_ == 3) {
        raw_->send({Continuation, "a message"});
    }
}

void Mover::expectText(const std::string& text)
{
    expectEqual(next(*raw_).payload, text);
}

void Mover::readTo(int end)
{
    while (sequence_.last() < end) {
        if (pusher_ == nullptr) {
            const Frame frame = next(*raw_);
            expect(frame.opcode == Text, who_ + " got opcode " + std::to_string(frame.opcode));
            sequence_.see(who_, kind_ == 1 ? Json::parse(frame.payload).at("data").text() : frame.payload);
            continue;
        }
        const PusherEvent event = pusher_->receive();
        if (event.channel == Load && event.event == "message") {
            sequence_.see(who_, event.data);
        } else {
            expect(!quiet_, who_ + " heard " + event.event + " " + event.data);
        }
    }
    quiet_ = true; // from now on nobody comes or goes
}

// --- those that come back -----------------------------------------------------------------------------------------

Stream::Stream(const Nginx& nginx, int index)
    : Visitor("stream " + std::to_string(index)), url_(nginx.url(LoadPath))
{
    connect();
}

void Stream::connect()
{
    std::vector<std::string> headers;
    if (!lastId_.empty()) {
        headers.push_back("Last-Event-ID: " + lastId_);
    }
    client_ = std::make_unique<SseClient>(url_, headers);
    ++visits_;
}

void Stream::read()
{
    while (client_->pending()) {
        const SseEvent event = client_->receive();
        expectEqual(event.event, "message");
        lastId_ = event.id;
        sequence_.see(who_, event.data);
    }
    if (client_->waitForEnd(0ms)) {
        connect();
    }
}

Poll::Poll(const Nginx& nginx, int index, Fate fate)
    : Visitor("poll " + std::to_string(index)), url_(nginx.url(LoadPath)), fate_(fate)
{
}

void Poll::read()
{
    if (exchange_ == nullptr) {
        HttpRequest request;
        request.url = url_ + "?since=" + since_;
        exchange_ = std::make_unique<HttpExchange>(request);
        ++visits_;
    }
    exchange_->pump(0ms);
    if (!exchange_->done()) {
        return;
    }
    const std::unique_ptr<HttpExchange> over = std::move(exchange_);
    if (fate_ == Fate::Violent && !over->error().empty()) {
        return;
    }
    const HttpResponse& response = over->finish();
    expect(response.status == 200 || response.status == 204,
           who_ + " got " + std::to_string(response.status));
    since_ = response.header("realtime-last-id");
    if (response.status == 200) {
        const Json events = Json::parse(response.body);
        for (std::size_t i = 0; i < events.size(); ++i) {
            sequence_.see(who_, events.at(i).at("data").text());
        }
    }
}

Follower::Follower(const Nginx& nginx, int index)
    : Visitor("listener " + std::to_string(index)), port_(nginx.port())
{
    connect();
}

void Follower::connect()
{
    socket_ = std::make_unique<RawWebSocket>(port_, LoadPath + (lastId_.empty() ? "" : "?since=" + lastId_),
                                             "Sec-WebSocket-Protocol: realtime.json\r\n");
    ++visits_;
}

void Follower::read()
{
    try {
        if (socket_ == nullptr) {
            connect();
        }
        while (socket_->pending()) {
            const Frame frame = next(*socket_);
            if (frame.opcode == Close) {
                throw PeerGone("asked to come back");
            }
            take(Json::parse(frame.payload));
        }
    } catch (const PeerGone&) {
        socket_ = nullptr;
    }
}

void Follower::take(const Json& message)
{
    expect(message.has("data") && message.has("id"), who_ + " got " + message.dump());
    sequence_.see(who_, message.at("data").text());
    lastId_ = message.at("id").text();
}

Member::Member(const Nginx& nginx, int index)
    : Visitor("member " + std::to_string(index)), port_(nginx.port()), user_(std::to_string(index))
{
    connect();
}

void Member::connect()
{
    present_.clear();
    client_ = std::make_unique<PusherClient>(port_, ShopKey, ShopSecret);
    client_->askToSubscribe(Load, "", lastId_);
    client_->askToSubscribe(Presence, memberData(user_), "");
    ++visits_;
}

void Member::read()
{
    try {
        if (client_ == nullptr) {
            connect();
        }
        while (client_->socket().pending()) {
            take(client_->receive());
        }
    } catch (const PeerGone&) {
        client_ = nullptr;
    }
}

void Member::take(const PusherEvent& event)
{
    if (event.channel == Load && event.event == "message") {
        sequence_.see(who_, event.data);
        lastId_ = event.id;
    } else if (event.event == "pusher_internal:subscription_succeeded") {
        const Json data = Json::parse(event.data);
        if (event.channel == Presence) {
            const Json ids = data.at("presence").at("ids");
            for (std::size_t i = 0; i < ids.size(); ++i) {
                present_.insert(ids.at(i).text());
            }
        } else if (!lastId_.empty()) {
            expectEqual(data.at("recovered").dump(), "true");
        }
    } else if (event.event == "pusher_internal:member_added") {
        const std::string user = Json::parse(event.data).at("user_id").text();
        expect(present_.insert(user).second, who_ + ": " + user + " comes twice");
    } else if (event.event == "pusher_internal:member_removed") {
        const std::string user = Json::parse(event.data).at("user_id").text();
        expect(present_.erase(user) == 1, who_ + ": " + user + " goes and was not there");
    } else {
        failure(who_ + " heard " + event.event + " " + event.data, Location::current());
    }
}

// --- who publishes ------------------------------------------------------------------------------------------------

NumberPublisher::NumberPublisher(const Nginx& nginx, Fate fate) : nginx_(nginx), fate_(fate) {}

NumberPublisher::~NumberPublisher()
{
    running_ = false;
    if (thread_.joinable()) {
        thread_.join();
    }
}

void NumberPublisher::start()
{
    running_ = true;
    thread_ = std::thread([this] { run(); });
}

int NumberPublisher::stop()
{
    running_ = false;
    thread_.join();
    expectEqual(trouble_, "");
    return number_ - 1;
}

void NumberPublisher::run()
{
    try {
        while (running_) {
            if (number_ <= most_) {
                publishOne();
            }
            std::this_thread::sleep_for(1ms);
        }
    } catch (const std::exception& e) {
        trouble_ = e.what();
    }
}

// Whoever is killed before it has answered may have published: the key makes the repeat harmless.
std::int64_t NumberPublisher::publishOne()
{
    const std::string text = std::to_string(number_++);
    HttpRequest request;
    request.url = nginx_.url(std::string("/shop/pub/") + Load);
    request.method = "POST";
    request.body = text;
    request.headers = {"Idempotency-Key: " + text};
    const auto deadline = Clock::now() + Patience;
    for (;;) {
        HttpExchange exchange(request);
        while (!exchange.done()) {
            expect(Clock::now() < deadline, "no answer to a publisher");
            exchange.pump(20ms);
        }
        if (fate_ == Fate::Orderly || exchange.error().empty()) {
            const HttpResponse& response = exchange.finish();
            expectEqual(response.status, 202L);
            return Json::parse(response.body).at("subscribers").number();
        }
    }
}

} // namespace realtime::testing
