#include "webhook/webhook_request.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cstring>
#include <netdb.h>
#include <netinet/in.h>
#include <new>
#include <stdexcept>

namespace realtime {

namespace {

constexpr int MaxAddresses = 16;

// As in CURLOPT_RESOLVE; empty if it is neither IPv4 nor IPv6.
std::string addressText(const addrinfo& address)
{
    char text[INET6_ADDRSTRLEN];
    if (address.ai_family == AF_INET) {
        sockaddr_in ip4;
        std::memcpy(&ip4, address.ai_addr, sizeof(ip4));
        return inet_ntop(AF_INET, &ip4.sin_addr, text, sizeof(text)) != nullptr ? text : "";
    }
    if (address.ai_family == AF_INET6) {
        sockaddr_in6 ip6;
        std::memcpy(&ip6, address.ai_addr, sizeof(ip6));
        return inet_ntop(AF_INET6, &ip6.sin6_addr, text, sizeof(text)) != nullptr
                   ? "[" + std::string(text) + "]"
                   : "";
    }
    return {};
}

} // namespace

WebhookRequest::WebhookRequest(const WebhookEndpoint& endpoint, const WebhookOptions& options, CURLM* multi)
    : url_(parseWebhookUrl(endpoint.url)), timeout_(options.timeout), multi_(multi), handle_(curl_easy_init())
{
    if (!handle_) {
        throw std::bad_alloc();
    }
    set(CURLOPT_PRIVATE, this);
    set(CURLOPT_URL, endpoint.url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
    set(CURLOPT_POST, 1L);
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_PROXY, ""); // no matter what the environment says
    set(CURLOPT_USERAGENT, "nginx-realtime");
    set(CURLOPT_SSL_VERIFYPEER, 1L);
    set(CURLOPT_SSL_VERIFYHOST, 2L);
    if (!endpoint.tlsCa.empty()) {
        set(CURLOPT_CAINFO, endpoint.tlsCa.c_str());
        set(CURLOPT_CAPATH, nullptr); // these authorities and no others
    }
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_ERRORBUFFER, errorText_.data());
    set(CURLOPT_HEADERFUNCTION, &onAnswer);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_WRITEFUNCTION, &onAnswer);
    set(CURLOPT_WRITEDATA, this);
}

WebhookRequest::~WebhookRequest()
{
    cut();
}

template <class Value> void WebhookRequest::set(CURLoption option, Value value)
{
    if (const CURLcode code = curl_easy_setopt(handle_.get(), option, value); code != CURLE_OK) {
        throw std::runtime_error(std::string("libcurl: ") + curl_easy_strerror(code));
    }
}

void WebhookRequest::append(List& list, const std::string& text)
{
    auto* const head = curl_slist_append(list.get(), text.c_str());
    if (head == nullptr) {
        throw std::bad_alloc();
    }
    if (!list) {
        list.reset(head);
    }
}

// Reads on but keeps nothing; a longer answer ends the request, by when its status is known.
std::size_t WebhookRequest::onAnswer(char*, std::size_t size, std::size_t count, void* self)
{
    auto& request = *static_cast<WebhookRequest*>(self);
    request.answerBytes_ += size * count;
    return request.answerBytes_ <= MaxAnswerBytes ? size * count : 0;
}

void WebhookRequest::start(std::string_view body, std::span<const std::string> headers, Time now)
{
    List lines;
    for (const auto& header : headers) {
        append(lines, header);
    }
    append(lines, "Expect:"); // or libcurl may wait a second for 100 Continue
    set(CURLOPT_HTTPHEADER, lines.get());
    headers_ = std::move(lines);
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    set(CURLOPT_POSTFIELDS, body.data());

    answerBytes_ = 0;
    errorText_[0] = '\0';
    result_.reset();
    deadline_ = now + timeout_;
    stage_ = Stage::Resolving;
    resolve(now);
}

std::optional<WebhookResult> WebhookRequest::turn(Time now)
{
    if (stage_ == Stage::Resolving && !result_) {
        resolve(now);
    }
    if (!result_) {
        return std::nullopt;
    }
    if (result_->status == 0) {
        addressesUntil_ = Time::min(); // it may have moved
    }
    auto result = std::move(result_);
    cut();
    return result;
}

void WebhookRequest::cut()
{
    if (stage_ == Stage::Sending) {
        curl_multi_remove_handle(multi_, handle_.get());
    }
    stage_ = Stage::Idle;
    wakeAt_ = Time::max();
    result_.reset();
}

void WebhookRequest::done(CURL* handle, CURLcode code)
{
    void* self = nullptr;
    curl_easy_getinfo(handle, CURLINFO_PRIVATE, &self);
    auto& request = *static_cast<WebhookRequest*>(self);
    request.result_ = request.resultOf(code);
}

void WebhookRequest::resolve(Time now)
{
    if (url_.numeric || now < addressesUntil_) {
        send(now);
        return;
    }
    if (!resolver_) {
        resolver_.emplace(url_.host, url_.port);
    }
    switch (resolver_->state()) {
    case Resolver::State::Pending:
        wakeAt_ = now + Resolver::Pause;
        if (now >= deadline_) {
            fail("cannot find the address: no answer");
        }
        return;
    case Resolver::State::Failed:
        fail("cannot find the address: " + resolver_->error());
        resolver_.reset();
        return;
    case Resolver::State::Done:
        useAddresses(now);
        resolver_.reset();
        send(now);
        return;
    }
}

void WebhookRequest::useAddresses(Time now)
{
    std::string entry = url_.host + ":" + std::to_string(url_.port) + ":";
    int count = 0;
    for (const auto* address = resolver_->addresses(); address != nullptr && count < MaxAddresses;
         address = address->ai_next) {
        if (const std::string text = addressText(*address); !text.empty()) {
            entry += (count++ == 0 ? "" : ",") + text;
        }
    }
    List addresses;
    append(addresses, entry);
    set(CURLOPT_RESOLVE,
        addresses.get()); // takes the place of an earlier entry of this name and port, for good
    addresses_ = std::move(addresses);
    addressesUntil_ = now + AddressesLast;
}

void WebhookRequest::send(Time now)
{
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - now);
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<std::int64_t>(left.count(), 1))); // 0: no limit
    if (const CURLMcode code = curl_multi_add_handle(multi_, handle_.get()); code != CURLM_OK) {
        fail(std::string("libcurl: ") + curl_multi_strerror(code));
        return;
    }
    stage_ = Stage::Sending;
    wakeAt_ = Time::max();
}

void WebhookRequest::fail(const std::string& error)
{
    result_ = WebhookResult{0, error, error};
    wakeAt_ = Time::min();
}

// A status that was read is the receiver's word, whatever becomes of the rest of its answer.
WebhookResult WebhookRequest::resultOf(CURLcode code) const
{
    WebhookResult result;
    long status = 0;
    curl_easy_getinfo(handle_.get(), CURLINFO_RESPONSE_CODE, &status);
    result.status = static_cast<int>(status);
    if (result.accepted()) {
        return result;
    }
    if (status >= 200 || code == CURLE_OK) {
        result.error = "answered " + std::to_string(status);
        if (status >= 300 && status < 400) {
            result.error += " (redirects are not followed)";
        }
        result.kind = result.error;
        return result;
    }
    result.status = 0;
    result.kind = curl_easy_strerror(code);
    result.error = errorText_[0] != '\0' ? errorText_.data() : result.kind;
    return result;
}

} // namespace realtime
