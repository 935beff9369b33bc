"""Engine `trimesh`: clean, decimate, unwrap and bake with small wheels only."""
