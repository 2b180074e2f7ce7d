"""The archive: releases of models, their originals and all that was derived from them, to be proven and rebuilt."""
