"""Pictures as people send them: fetched under guard, opened in a limited process, upright sRGB with straight alpha."""
