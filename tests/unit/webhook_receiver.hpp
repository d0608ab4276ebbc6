// A small HTTP server on loopback for the tests of webhooks: keeps each request, and answers as the test says. A
// thread for each connection.
#pragma once

#include <arpa/inet.h>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace realtime::testing {

struct HookRequest {
    std::string head; // with all its CRLFs
    std::string body;
    int connection = 0; // counting from 0

    // Names with their case, as some receivers compare them. Empty: not there.
    std::string header(const std::string& name) const
    {
        const auto at = head.find("\r\n" + name + ": ");
        if (at == std::string::npos) {
            return {};
        }
        const auto from = at + name.size() + 4;
        return head.substr(from, head.find("\r\n", from) - from);
    }
};

inline std::string answerWith(int status, const std::string& headers = "", const std::string& body = "")
{
    return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\n" + headers + "\r\n" + body;
}

// The answer to the request of that number (from 0); nothing: none, until the other side hangs up.
using HookScript = std::function<std::optional<std::string>(const HookRequest& request, std::size_t number)>;

// A certificate for 127.0.0.1, signed by itself.
class HookTls {
public:
    HookTls() : key_(EVP_EC_gen("P-256"), EVP_PKEY_free), certificate_(X509_new(), X509_free)
    {
        std::signal(SIGPIPE, SIG_IGN); // OpenSSL writes without MSG_NOSIGNAL
        auto* const x = certificate_.get();
        X509_set_version(x, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
        X509_gmtime_adj(X509_getm_notBefore(x), -60);
        X509_gmtime_adj(X509_getm_notAfter(x), 3'600);
        X509_set_pubkey(x, key_.get());
        X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                                   reinterpret_cast<const unsigned char*>("receiver"), -1, -1, 0);
        X509_set_issuer_name(x, X509_get_subject_name(x));
        const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> name(
            X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1"), X509_EXTENSION_free);
        X509_add_ext(x, name.get(), -1);
        if (X509_sign(x, key_.get(), EVP_sha256()) == 0) {
            throw std::runtime_error("cannot make a certificate");
        }
    }

    void writeCertificate(const std::filesystem::path& path) const
    {
        const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "w"), std::fclose);
        if (!file || PEM_write_X509(file.get(), certificate_.get()) != 1) {
            throw std::runtime_error("cannot write " + path.string());
        }
    }

    std::shared_ptr<SSL_CTX> context() const
    {
        std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
        SSL_CTX_use_certificate(context.get(), certificate_.get());
        SSL_CTX_use_PrivateKey(context.get(), key_.get());
        return context;
    }

private:
    std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
    std::unique_ptr<X509, decltype(&X509_free)> certificate_;
};

class HookReceiver {
public:
    enum class Begin { Listening, Closed }; // Closed: the port is taken, and refuses connections until open()

    explicit HookReceiver(
        HookScript script = [](const HookRequest&, std::size_t) { return answerWith(200); },
        Begin begin = Begin::Listening, std::shared_ptr<SSL_CTX> tls = nullptr)
        : script_(std::move(script)), tls_(std::move(tls)),
          listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
    {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof(address);
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        if (bind(listener_, generic, size) != 0 || getsockname(listener_, generic, &size) != 0) {
            throw std::runtime_error("no port for the receiver");
        }
        port_ = ntohs(address.sin_port);
        if (begin == Begin::Listening) {
            open();
        }
    }

    ~HookReceiver()
    {
        stopping_ = true;
        ::shutdown(listener_, SHUT_RDWR);
        if (acceptor_.joinable()) {
            acceptor_.join();
        }
        {
            const std::lock_guard lock(mutex_);
            for (const int fd : sockets_) {
                ::shutdown(fd, SHUT_RDWR);
            }
        }
        for (auto& thread : threads_) {
            thread.join();
        }
        for (const int fd : sockets_) {
            ::close(fd);
        }
        ::close(listener_);
    }
    HookReceiver(const HookReceiver&) = delete;
    HookReceiver& operator=(const HookReceiver&) = delete;

    void open()
    {
        if (listen(listener_, 64) != 0) {
            throw std::runtime_error("the receiver cannot listen");
        }
        acceptor_ = std::thread([this] { acceptAll(); });
    }

    std::uint16_t port() const { return port_; }
    std::string url(const std::string& path = "/hooks", const std::string& host = "127.0.0.1") const
    {
        return (tls_ ? "https://" : "http://") + host + ":" + std::to_string(port_) + path;
    }

    std::vector<HookRequest> requests() const
    {
        const std::lock_guard lock(mutex_);
        return requests_;
    }
    std::size_t count() const
    {
        const std::lock_guard lock(mutex_);
        return requests_.size();
    }
    int connections() const { return connections_; }
    int hangUps() const { return hangUps_; } // of the other side, while it was owed an answer
    int mostAtOnce() const { return mostAtOnce_; }

private:
    struct Stream {
        int fd;
        std::unique_ptr<SSL, decltype(&SSL_free)> ssl{nullptr, SSL_free};

        long read(char* data, std::size_t size) const
        {
            return ssl ? SSL_read(ssl.get(), data, static_cast<int>(size)) : ::recv(fd, data, size, 0);
        }
        bool write(std::string_view text) const
        {
            while (!text.empty()) {
                const long n = ssl ? SSL_write(ssl.get(), text.data(), static_cast<int>(text.size()))
                                   : ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
                if (n <= 0) {
                    return false;
                }
                text.remove_prefix(static_cast<std::size_t>(n));
            }
            return true;
        }
    };

    void acceptAll()
    {
        for (;;) {
            const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0) {
                return;
            }
            const std::lock_guard lock(mutex_);
            sockets_.push_back(fd);
            threads_.emplace_back([this, fd, number = connections_++] { serve(fd, number); });
        }
    }

    void serve(int fd, int connection)
    {
        Stream stream{fd};
        if (tls_) {
            stream.ssl.reset(SSL_new(tls_.get()));
            SSL_set_fd(stream.ssl.get(), fd);
        }
        if (!tls_ || SSL_accept(stream.ssl.get()) == 1) {
            while (serveOne(stream, connection)) {
            }
        }
        ::shutdown(fd, SHUT_RDWR);
    }

    bool serveOne(const Stream& stream, int connection)
    {
        std::string bytes;
        HookRequest request;
        request.connection = connection;
        for (char some[4096];;) {
            if (const auto end = bytes.find("\r\n\r\n"); end != std::string::npos) {
                request.head = bytes.substr(0, end + 4);
                const std::size_t length = std::stoul("0" + request.header("Content-Length"));
                if (bytes.size() >= end + 4 + length) {
                    request.body = bytes.substr(end + 4);
                    break;
                }
            }
            const long n = stream.read(some, sizeof(some));
            if (n <= 0) {
                return false;
            }
            bytes.append(some, static_cast<std::size_t>(n));
        }
        const int now = ++atOnce_;
        for (int most = mostAtOnce_; most < now && !mostAtOnce_.compare_exchange_weak(most, now);) {
        }
        std::size_t number = 0;
        {
            const std::lock_guard lock(mutex_);
            number = requests_.size();
            requests_.push_back(request);
        }
        const auto answer = script_(request, number);
        --atOnce_;
        if (answer) {
            return stream.write(*answer);
        }
        char byte;
        if (stream.read(&byte, 1) <= 0 && !stopping_) {
            ++hangUps_;
        }
        return false;
    }

    HookScript script_;
    const std::shared_ptr<SSL_CTX> tls_;
    const int listener_;
    std::uint16_t port_ = 0;
    std::thread acceptor_;
    std::atomic<bool> stopping_{false};
    std::atomic<int> connections_{0}, hangUps_{0}, atOnce_{0}, mostAtOnce_{0};

    mutable std::mutex mutex_; // guards what follows
    std::vector<int> sockets_;
    std::vector<std::thread> threads_;
    std::vector<HookRequest> requests_;
};

} // namespace realtime::testing
