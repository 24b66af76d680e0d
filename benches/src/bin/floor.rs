//! The program of the floor server. See [`elastauth_bench::floor`].

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    elastauth_bench::serve(elastauth_bench::floor()).await
}
