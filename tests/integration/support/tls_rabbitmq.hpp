// A RabbitMQ that takes connections over TLS, from clients with a certificate of its authority only.
#pragma once

#include "support/files.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace realtime::testing {

// Starting one takes seconds.
class TlsRabbitMq {
public:
    TlsRabbitMq();
    ~TlsRabbitMq();
    TlsRabbitMq(const TlsRabbitMq&) = delete;
    TlsRabbitMq& operator=(const TlsRabbitMq&) = delete;

    // amqps://; its certificate is for localhost.
    std::string url(const std::string& host = "localhost") const;
    // ca.pem; client.pem, client.key and server.key of it; other.pem: an authority that has signed none of these.
    std::string file(const std::string& name) const { return (directory_.path() / name).string(); }
    std::string ctl(const std::vector<std::string>& arguments) const; // rabbitmqctl's output

private:
    TempDir directory_;
    std::uint16_t port_;
};

} // namespace realtime::testing
