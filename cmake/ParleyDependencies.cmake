# Everything comes from Debian's packages (scripts/packages lists them).
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json url)
find_package(OpenSSL 3 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(fmt REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(simdjson REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PROMETHEUS REQUIRED IMPORTED_TARGET prometheus-cpp-core)
pkg_check_modules(LIBPQ REQUIRED IMPORTED_TARGET libpq)
find_package(CLI11 REQUIRED)
find_package(mimalloc QUIET)

add_library(parley_asio INTERFACE)
target_link_libraries(parley_asio INTERFACE Boost::headers Threads::Threads)
# Coroutine frames and handlers come straight from operator new (mimalloc): Asio's own cache of two blocks a thread misses
# most of them and then asks for aligned memory, the allocator's slow way. It would also hide a dead frame from ASan.
# Asio's own code is compiled once, in core/asio.cpp: inlined into coroutines it made each co_await 150 bytes larger.
target_compile_definitions(parley_asio INTERFACE BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_AWAITABLE_FRAME_RECYCLING
  BOOST_ASIO_DISABLE_SMALL_BLOCK_RECYCLING BOOST_ASIO_DISABLE_STD_ALIGNED_ALLOC)
