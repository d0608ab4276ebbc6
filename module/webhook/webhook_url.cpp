#include "webhook/webhook_url.hpp"

#include "base/ascii.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <curl/curl.h>
#include <memory>
#include <new>
#include <stdexcept>

namespace realtime {

namespace {

constexpr std::size_t MaxUrl = 2'000;
constexpr std::size_t MaxHost = 253;

[[noreturn]] void refuseUrl(const std::string& why)
{
    throw std::runtime_error("the webhook's URL " + why);
}

bool beginsWith(std::string_view text, std::string_view scheme)
{
    return text.size() >= scheme.size() && std::equal(scheme.begin(), scheme.end(), text.begin(),
                                                      [](char a, char b) { return a == lower(b); });
}

// libcurl's own parser, so that what is checked here is what is called there.
class Parts {
public:
    explicit Parts(const std::string& url) : handle_(curl_url())
    {
        if (!handle_) {
            throw std::bad_alloc();
        }
        const CURLUcode code = curl_url_set(handle_.get(), CURLUPART_URL, url.c_str(), 0);
        if (code == CURLUE_BAD_PORT_NUMBER) {
            refuseUrl("has an invalid port: it must be 1 to 65535");
        }
        if (code != CURLUE_OK) {
            refuseUrl(std::string("is not understood: ") + curl_url_strerror(code));
        }
    }

    std::string get(CURLUPart part, unsigned flags = 0) const // "" if there is none
    {
        char* text = nullptr;
        if (curl_url_get(handle_.get(), part, &text, flags) != CURLUE_OK) {
            return {};
        }
        const std::unique_ptr<char, Free> owner(text);
        return text;
    }

private:
    struct Free {
        void operator()(CURLU* handle) const { curl_url_cleanup(handle); }
        void operator()(char* text) const { curl_free(text); }
    };
    std::unique_ptr<CURLU, Free> handle_;
};

bool isNumeric(const std::string& host)
{
    in6_addr address;
    return inet_pton(AF_INET, host.c_str(), &address) == 1 ||
           inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

bool isHostName(std::string_view host)
{
    return !host.empty() && host.size() <= MaxHost && host.front() != '.' && host.back() != '.' &&
           std::all_of(host.begin(), host.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
           });
}

void checkText(std::string_view url)
{
    if (url.size() > MaxUrl) {
        refuseUrl("is longer than " + std::to_string(MaxUrl) + " bytes");
    }
    if (!beginsWith(url, "http://") && !beginsWith(url, "https://")) {
        refuseUrl("must begin with http:// or https://");
    }
    if (url.find(":///") <= std::string_view("https").size()) { // libcurl passes over the third
        refuseUrl("has no valid host name or address");
    }
    if (!std::all_of(url.begin(), url.end(), [](char c) { return c > ' ' && c < '\x7f'; })) {
        refuseUrl("may hold printable ASCII only: write other bytes as %XX, other host names as xn--...");
    }
    if (url.find('#') != std::string_view::npos) {
        refuseUrl("has a fragment (\"#\"), which is never sent");
    }
}

} // namespace

WebhookUrl parseWebhookUrl(std::string_view url)
{
    checkText(url);
    const Parts parts{std::string(url)};
    if (!parts.get(CURLUPART_USER).empty() || !parts.get(CURLUPART_PASSWORD).empty()) {
        refuseUrl("has a user or password: webhooks are signed, and nothing else tells the sender");
    }

    WebhookUrl parsed;
    parsed.host = parts.get(CURLUPART_HOST);
    std::transform(parsed.host.begin(), parsed.host.end(), parsed.host.begin(), lower);
    if (parsed.host.starts_with('[') && parsed.host.ends_with(']')) {
        parsed.host = parsed.host.substr(1, parsed.host.size() - 2);
    }
    parsed.numeric = isNumeric(parsed.host);
    if (!parsed.numeric && !isHostName(parsed.host)) {
        refuseUrl("has no valid host name or address");
    }
    const std::string port = parts.get(CURLUPART_PORT, CURLU_DEFAULT_PORT);
    std::from_chars(port.data(), port.data() + port.size(), parsed.port);
    if (parsed.port == 0) {
        refuseUrl("has an invalid port: it must be 1 to 65535");
    }
    parsed.display = url.substr(0, url.find('?'));
    return parsed;
}

} // namespace realtime
