// Tells when files change, through inotify on their folders: editors replace files, so watching the file is not enough.
#pragma once

#include <boost/asio/io_context.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace parley::net {

class FileWatch {
public:
    /// Calls `changed` on `context` some 200 ms after the last change to any of the watched files.
    FileWatch(boost::asio::io_context& context, std::function<void()> changed);
    ~FileWatch();
    FileWatch(FileWatch const&) = delete;
    FileWatch& operator=(FileWatch const&) = delete;

    /// Replaces the list. A file that does not exist (yet) is fine; a folder that does not exist is not watched.
    void watch(std::vector<std::string> const& paths);

private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

} // namespace parley::net
