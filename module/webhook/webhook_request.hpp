// One endpoint's HTTP request: looks the receiver's name up, sends, tells how it went; then the next. The connection
// between them stays open.
//
// Names      are looked up by Resolver and given to libcurl (CURLOPT_RESOLVE), which so never looks up itself: Debian's
//            libcurl has the threaded resolver, and waits for that thread when a request is cut, for as long as a
//            name server is silent. CURLOPT_QUICK_EXIT would leave the thread behind instead, running code of a
//            library that goes when nginx unloads the module.
// HTTP/1.1   always: HTTP/2 has header names in lower case, but receivers compare X-Pusher-Key and X-Pusher-Signature
//            with their case.
// Thread     the webhook thread, but for the constructor and destructor. Nothing waits.
#pragma once

#include "base/thread/resolver.hpp"
#include "webhook/webhook_sender.hpp"
#include "webhook/webhook_url.hpp"

#include <array>
#include <chrono>
#include <curl/curl.h>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace realtime {

using WebhookClock = std::chrono::steady_clock;

struct WebhookResult {
    int status = 0;    // HTTP; 0: no answer
    std::string error; // if not accepted(): what is to be said after the receiver's name
    std::string kind;  // the same text for the same cause

    bool accepted() const { return status >= 200 && status <= 299; }
};

class WebhookRequest {
public:
    using Time = WebhookClock::time_point;

    static constexpr std::size_t MaxAnswerBytes = 64 << 10; // headers and body
    static constexpr std::chrono::seconds AddressesLast{60};

    // `multi` must outlive this. Throws std::runtime_error.
    WebhookRequest(const WebhookEndpoint& endpoint, const WebhookOptions& options, CURLM* multi);
    ~WebhookRequest();
    WebhookRequest(const WebhookRequest&) = delete;
    WebhookRequest& operator=(const WebhookRequest&) = delete;

    const WebhookUrl& url() const { return url_; }

    // Only if not busy(). `headers` are "Name: value"; `body` must stay where it is until turn() has told the result.
    void start(std::string_view body, std::span<const std::string> headers, Time now);
    bool busy() const { return stage_ != Stage::Idle; }

    // Goes on with what can be done; the result ends the request.
    std::optional<WebhookResult> turn(Time now);
    Time wakeAt() const { return wakeAt_; } // when turn() is wanted, if libcurl does not ask for it before

    // Ends the request without a result.
    void cut();

    // For messages of the multi handle: the request that `handle` belongs to is over.
    static void done(CURL* handle, CURLcode code);

private:
    enum class Stage { Idle, Resolving, Sending };
    struct Free {
        void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
        void operator()(curl_slist* list) const { curl_slist_free_all(list); }
    };
    using List = std::unique_ptr<curl_slist, Free>;

    template <class Value> void set(CURLoption option, Value value);
    static void append(List& list, const std::string& text);
    static std::size_t onAnswer(char* data, std::size_t size, std::size_t count, void* self);
    void resolve(Time now);
    void useAddresses(Time now);
    void send(Time now);
    void fail(const std::string& error);
    WebhookResult resultOf(CURLcode code) const;

    const WebhookUrl url_;
    const std::chrono::milliseconds timeout_;
    CURLM* const multi_;

    // What libcurl reads is declared before its handle, and so outlives that.
    List headers_, addresses_;
    std::array<char, CURL_ERROR_SIZE> errorText_{};
    std::unique_ptr<CURL, Free> handle_;

    Stage stage_ = Stage::Idle;
    Time deadline_, wakeAt_ = Time::max();
    std::optional<Resolver> resolver_; // outlives an attempt that timed out: the next one goes on waiting
    Time addressesUntil_ = Time::min();
    std::size_t answerBytes_ = 0;
    std::optional<WebhookResult> result_;
};

} // namespace realtime
