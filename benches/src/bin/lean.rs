//! The program of the floor's lean twin. See [`elastauth_bench::lean`].

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    elastauth_bench::serve(elastauth_bench::lean()).await
}
