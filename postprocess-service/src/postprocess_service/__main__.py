"""`python -m postprocess_service`: serve on HOST and PORT."""

import uvicorn

from scratch3d.servicekit.logging import configure

from .app import create_app
from .settings import Settings


def main() -> None:
    """Run the service until it is told to stop."""
    settings = Settings()
    configure("postprocess-service", level=settings.log_level, human=settings.log_human)
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, log_config=None, access_log=False)


if __name__ == "__main__":
    main()
